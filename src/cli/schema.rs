//! `schema`.

use super::outcome::{Exit, print};

pub(crate) fn run() -> Result<(), Exit> {
    print(crate::config::SCHEMA)
}
