//! The files in `deploy/`, checked against the real program and the tools that consume them: one file per theme, one
//! test per promise. Checks that take minutes are in separate scripts.

mod advisories;
mod certificate;
mod containers;
mod dashboard;
mod inhibition;
mod kubernetes;
mod manual;
mod project;
mod prometheus;
mod rules;
mod sandbox;
mod systemd;
