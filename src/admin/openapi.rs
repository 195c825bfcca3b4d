//! The description of both planes that `/openapi.yaml` serves.

/// `config/openapi.yaml`, as it is in the repository.
pub const TEXT: &str = include_str!("../../config/openapi.yaml");
