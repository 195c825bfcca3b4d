//! `schema`.

use super::outcome::{Exit, print};

pub fn run() -> Result<(), Exit> {
    print(crate::config::SCHEMA)
}
