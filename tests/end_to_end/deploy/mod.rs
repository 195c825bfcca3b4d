//! What is in `deploy/`, held against the real program and the tools that would take it: one file a
//! theme, one test a promise. What takes minutes is in scripts beside this.

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
