//! A program that was built without a level refuses a configuration that asks for it.

use super::*;

#[test]
fn a_program_built_without_the_disk_level_refuses_its_path() {
    let text = format!("[disk]\npath = \"/var/lib/credira-gateway\"\n{}", tenant("a"));
    let refusal = "g.toml:2:8: disk.path: this program was built without the disk level";
    match cfg!(feature = "disk") {
        true => assert!(settings(&text).disk.path.is_some()),
        false => assert_eq!(problems(&text), [refusal]),
    }
}

#[test]
fn a_program_built_without_the_shared_level_refuses_its_engine() {
    let key = "0123456789abcdef0123456789abcdef";
    let text = format!(
        "[shared]\nurls = [\"unix:/run/valkey.sock\"]\nkey = {{ value = \"{key}\" }}\n{}",
        tenant("a")
    );
    let refusal = "g.toml:2:8: shared.urls: this program was built without the shared level";
    match cfg!(feature = "shared") {
        true => assert!(settings(&text).shared.engine.is_some()),
        false => assert_eq!(problems(&text), [refusal]),
    }
}
