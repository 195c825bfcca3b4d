//! Checks of files whose secrets and certificates are elsewhere.

use super::*;

/// Checks `text` as a pipeline does, which has none of the secrets.
fn check_without(text: &str) -> Result<(Settings, Findings), Vec<String>> {
    let checked =
        check_text(Path::new("g.toml"), text.into(), &BTreeMap::new(), Missing::Skip, this_machine());
    checked.map_err(|problems| problems.lines().collect())
}

const TEXT: &str = "[listen]\naddress = \"0.0.0.0:8443\"\ntls = { cert = \"no.crt\", key = \"no.key\" }\n\
    [admin]\ntoken = { file = \"no-token\" }\n[upstream]\nca_file = \"no-ca\"\n\
    [[tenants]]\nname = \"a\"\ntokens = [{ env = \"NO_A\" }, { file = \"no-a\" }]\nupstream_key = { env = \"NO_KEY\" }\n\
    [[tenants]]\nname = \"b\"\ntokens = [{ env = \"NO_B\" }]\nupstream_key = { file = \"no-key\" }\n\
    upstream_key_next = { env = \"NO_KEY\" }\n";

#[test]
fn missing_secrets_are_problems_unless_skipped() {
    assert_eq!(problems(TEXT).len(), 9);
    let (settings, findings) = check_without(TEXT).unwrap();
    let mut skipped: Vec<_> = findings.skipped.iter().map(|line| line.split(": ").next().unwrap()).collect();
    skipped.sort_unstable();
    let expected = [
        "admin.token",
        "listen.tls.cert",
        "tenants[0].tokens[0]",
        "tenants[0].tokens[1]",
        "tenants[0].upstream_key",
        "tenants[1].tokens[0]",
        "tenants[1].upstream_key",
        "tenants[1].upstream_key_next",
        "upstream.ca_file",
    ];
    assert_eq!(skipped, expected);
    assert_eq!(findings.warnings, [""; 0]);
    let shown: toml::Table = EffectiveConfig::of(&settings).to_toml().parse().unwrap();
    assert_eq!(shown["listen"]["tls"]["cert"].as_str(), Some("no.crt"));
    assert_eq!(shown["tenants"][1]["upstream_key"]["file"].as_str(), Some("no-key"));
}

#[test]
fn existing_secrets_are_checked_even_when_missing_ones_are_skipped() {
    let text =
        "[[tenants]]\nname = \"a\"\ntokens = [{ value = \"short\" }]\nupstream_key = { value = \"a b\" }\n";
    let found = check_without(text).unwrap_err();
    assert_eq!(found.len(), 2, "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "").unwrap();
    let text = tenant("a").replace("{ value = \"k\" }", "{ file = \"key\" }");
    let file = folder.path().join("g.toml");
    let Err(found) = check_text(&file, text, &BTreeMap::new(), Missing::Skip, this_machine()) else {
        panic!("accepted")
    };
    assert!(found.to_string().contains("the secret is empty"), "{found}");
}
