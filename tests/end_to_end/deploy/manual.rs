//! The manual pages.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::{Finished, needed, program};

/// Needs groff.
#[test]
fn groff_finds_nothing_to_complain_of_in_the_manual() {
    for page in [
        &["man"][..],
        &["man", "serve"],
        &["man", "mock-upstream"],
        &["man", "token", "new"],
        &["man", "reload"],
    ] {
        let roff = Finished::of(&mut program(page)).out;
        let started = Command::new("groff")
            .args(["-man", "-ww", "-Tutf8", "-Kutf8", "-P-cbou"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Some(mut groff) = needed("groff", started) else { return };
        groff.stdin.take().unwrap().write_all(roff.as_bytes()).unwrap();
        let output = groff.wait_with_output().unwrap();
        let (shown, complaints) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && complaints.is_empty(), "{page:?}: {complaints}");
        assert!(shown.contains("NAME") && shown.contains("SYNOPSIS"), "{page:?}: {shown}");
        assert!(shown.contains("EXIT STATUS") && shown.contains("2      wrong usage"), "{page:?}: {shown}");
        let reads_files = !["mock-upstream", "new"].contains(page.last().unwrap());
        for section in ["ENVIRONMENT", "FILES"] {
            assert_eq!(shown.contains(section), reads_files, "{page:?} {section}: {shown}");
        }
    }
}
