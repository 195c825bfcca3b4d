use schemars::Schema;
use schemars::transform::{RecursiveTransform, Transform};

use super::schema_node::{SchemaNode, join};
use super::sections::RawConfig;
use super::*;

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn tenant(name: &str) -> String {
    let hex = format!("{:0>64x}", name.bytes().map(u64::from).sum::<u64>());
    format!(
        "[[tenants]]\nname = \"{name}\"\ntoken_sha256 = [\"{hex}\"]\nupstream_key = {{ value = \"k\" }}\n"
    )
}

mod levels;
mod missing;
mod risks;

fn load_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let loaded = load_text(Path::new("g.toml"), text.into(), &variables);
    loaded.map_err(|problems| problems.lines().collect())
}

fn settings(text: &str) -> Settings {
    load_with(text, &[]).unwrap().settings
}

fn problems(text: &str) -> Vec<String> {
    load_with(text, &[]).unwrap_err()
}

#[test]
fn the_smallest_file_is_one_tenant() {
    let settings = settings(&tenant("a"));
    assert_eq!(settings.listen.addresses, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(settings.admin.addresses, ["127.0.0.1:9090".parse().unwrap()]);
    assert_eq!(settings.upstream.base_url.to_string(), "https://api.credira.com");
    assert_eq!(settings.tenants.len(), 1);
    assert_eq!(settings.tenants[0].cache_max_bytes, 64 << 20);
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = "[cache]\ntll = \"1h\"\nttl = 5\nsettle_ttl = \"soon\"\n[limits]\nmax_in_flight = 0\n\
                rate_limit_headers = \"sometimes\"\n[[tenants]]\nname = \"a\"\nupstream_key = 7\n";
    assert_eq!(
        problems(text),
        [
            "g.toml:2:1: cache.tll: unknown key; did you mean `ttl`?",
            "g.toml:3:7: cache.ttl: expected a duration such as \"250ms\", \"30s\", \"10m\", \"24h\" or \"7d\", at most ten years",
            "g.toml:4:14: cache.settle_ttl: expected a duration such as \"250ms\", \"30s\", \"10m\", \"24h\" or \"7d\", at most ten years",
            "g.toml:6:17: limits.max_in_flight: expected a whole number from 1 to 1000000",
            "g.toml:7:22: limits.rate_limit_headers: expected one of \"always\", \"on-refusal\", \"off\"",
            "g.toml:8:1: tenants[0]: expected at least one token: token_sha256 or tokens",
            "g.toml:10:16: tenants[0].upstream_key: expected one of { env = \"…\" }, { file = \"…\" }, { value = \"…\" }",
        ]
    );
}

#[test]
fn a_misspelt_key_does_not_hide_problems_elsewhere() {
    let text = format!(
        "[cache]\ntll = \"1h\"\n[upstream]\nbase_url = \"ftp://x\"\n[[tenants]]\nnmae = \"x\"\n{}{}",
        tenant("b"),
        tenant("b")
    );
    let found = problems(&text);
    assert_eq!(found.len(), 8, "{found:#?}");
    for key in [
        "cache.tll",
        "upstream.base_url",
        "tenants[0].nmae",
        "tenants[0].name",
        "tenants[0].upstream_key",
        "tenants[0]",
        "tenants[2].name",
        "tenants[2]",
    ] {
        assert!(found.iter().any(|line| line.contains(&format!(": {key}: "))), "{key} in {found:#?}");
    }
}

#[test]
fn a_problem_in_an_entry_does_not_hide_the_rest_of_it() {
    let text = "[admin]\nhosts = [5, \"a b\"]\n[cache]\ncacheable_statuses = [\"completed\", 7]\n\
                [[tenants]]\nname = \"A\"\ntoken_sha256 = [\"12\", 5]\nupstream_key = \"hunter2\"\n\
                [[tenants]]\ntokens = [\n\"hunter2\",\n]\nrate_limit = {}\n";
    let found = problems(text);
    let expected = [
        "admin.hosts[0]: expected a string",
        "admin.hosts[1]: expected a host name",
        "cache.cacheable_statuses[1]: expected a string",
        "tenants[0].name: expected [a-z0-9-]{1,63}",
        "tenants[0].token_sha256[0]: expected 64",
        "tenants[0].token_sha256[1]: expected a string",
        "tenants[0].upstream_key: expected one of",
        "tenants[1].name: missing",
        "tenants[1].upstream_key: missing",
        "tenants[1].tokens[0]: expected one of",
        "tenants[1].rate_limit: expected either",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for message in expected {
        assert!(found.iter().any(|line| line.contains(&format!(": {message}"))), "{message} in {found:#?}");
    }
    let Err(shown) = load_text(Path::new("g.toml"), text.into(), &BTreeMap::new()) else {
        panic!("accepted")
    };
    assert!(!shown.to_string().contains("hunter2"), "{shown}");
}

#[test]
fn problems_beyond_the_schema_are_reported_at_once_too() {
    let text = format!(
        "[listen]\naddress = \"nowhere\"\n[upstream]\nbase_url = \"http://api.credira.com/v1\"\ntotal_timeout = \"0s\"\n\
         [[tenants]]\nname = \"A b\"\ntoken_sha256 = [\"12\"]\nupstream_key = {{ env = \"NO_SUCH\" }}\n\
         [[tenants]]\nname = \"b\"\ntoken_sha256 = [\"{HEX}\"]\nupstream_key = {{ value = \"k\" }}\n\
         rate_limit = {{ burst = 3 }}\n\
         [[tenants]]\nname = \"b\"\ntoken_sha256 = [\"{HEX}\"]\nupstream_key = {{ value = \"k\" }}\n\
         upstream_limit = {{ per_second = -1 }}\n"
    );
    let found = problems(&text);
    let expected = [
        ("listen.address", "expected an address"),
        ("upstream.base_url", "expected no path"),
        ("upstream.total_timeout", "above 0"),
        ("tenants[0].name", "[a-z0-9-]{1,63}"),
        ("tenants[0].token_sha256[0]", "64 hexadecimal digits"),
        ("tenants[0].upstream_key", "the environment variable NO_SUCH is not set"),
        ("tenants[1].rate_limit", "either per_second or per_minute"),
        ("tenants[2]", "already assigned to tenants[1]"),
        ("tenants[2].name", "already the name of tenants[1]"),
        ("tenants[2].upstream_limit", "expected a rate above 0"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (key, message) in expected {
        let hit = found.iter().any(|line| line.contains(&format!(": {key}: ")) && line.contains(message));
        assert!(hit, "{key}: {message} in {found:#?}");
    }
}

#[test]
fn plaintext_to_another_machine_must_be_allowed() {
    let with = |upstream: &str| load_with(&format!("[upstream]\n{upstream}\n{}", tenant("a")), &[]);
    assert!(with("base_url = \"http://api.credira.com\"").unwrap_err()[0].contains("allow_plaintext"));
    assert!(with("base_url = \"http://api.credira.com\"\nallow_plaintext = true").is_ok());
    assert!(with("base_url = \"http://127.0.0.1:8081\"").is_ok());
}

#[test]
fn an_empty_tenant_list_is_refused() {
    assert_eq!(problems("").len(), 1);
    assert!(problems("tenants = []")[0].contains("at least one [[tenants]]"));
}

#[test]
fn a_tenant_needs_a_token() {
    let found = problems("[[tenants]]\nname = \"a\"\nupstream_key = { value = \"k\" }\n");
    assert!(found[0].contains("at least one token"), "{found:?}");
}

#[test]
fn a_short_or_odd_token_is_refused_without_being_shown() {
    let long = "hunter2".repeat(80);
    for token in ["hunter2", "hunter2 with spaces, and more than 32 characters of them", &long] {
        let text = format!(
            "[[tenants]]\nname = \"a\"\ntokens = [{{ value = \"{token}\" }}]\nupstream_key = {{ value = \"k\" }}\n"
        );
        let Err(problems) = load_text(Path::new("g.toml"), text, &BTreeMap::new()) else {
            panic!("accepted")
        };
        let shown = problems.to_string();
        assert!(shown.contains("of 32 to 505") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_token_and_its_digest_are_the_same_token() {
    let token = "0123456789abcdef0123456789abcdef";
    let hex = crate::domain::TokenHash::of(token.as_bytes()).to_hex();
    let text = format!(
        "[[tenants]]\nname = \"a\"\ntokens = [{{ value = \"{token}\" }}]\nupstream_key = {{ value = \"k\" }}\n\
         [[tenants]]\nname = \"b\"\ntoken_sha256 = [\"{hex}\"]\nupstream_key = {{ value = \"k\" }}\n"
    );
    assert!(problems(&text)[0].contains("tokens must be unique across tenants"));
}

#[test]
fn the_environment_overrides_every_scalar() {
    let loaded = load_with(
        &format!("[cache]\nttl = \"1h\"\n{}", tenant("a")),
        &[
            ("CREDIRA_GATEWAY__CACHE__TTL", "2h"),
            ("CREDIRA_GATEWAY__UPSTREAM__MAX_CONNECTIONS", "7"),
            ("CREDIRA_GATEWAY__UPSTREAM__ALLOW_PLAINTEXT", "true"),
            ("CREDIRA_GATEWAY__LISTEN__ADDRESS", "127.0.0.1:0"),
            ("CREDIRA_GATEWAY__ADMIN__ADDRESS", ""),
            ("CREDIRA_GATEWAY__LOG__ACCESS", "off"),
            ("CREDIRA_GATEWAY__TENANTS__0__CACHE_MAX_BYTES", "1MiB"),
            ("CREDIRA_GATEWAY__TENANTS__0__RATE_LIMIT__PER_SECOND", "2.5"),
            ("CREDIRA_GATEWAY_CONFIG", "not an override"),
        ],
    );
    let settings = loaded.unwrap().settings;
    assert_eq!(settings.cache.ttl.as_secs(), 7200);
    assert_eq!(settings.upstream.max_connections, 7);
    assert!(settings.upstream.allow_plaintext);
    assert_eq!(settings.listen.addresses, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(settings.admin.addresses, []);
    assert_eq!(settings.log.access, AccessLog::Off);
    assert_eq!(settings.tenants[0].cache_max_bytes, 1 << 20);
    let rate = settings.tenants[0].rate_limit.unwrap();
    assert_eq!((rate.interval.as_millis(), rate.burst.get()), (400, 3));
}

#[test]
fn the_environment_overrides_the_source_of_a_secret() {
    let file = "[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"".to_owned()
        + HEX
        + "\"]\nupstream_key = { env = \"NOT_THERE\" }\n";
    let elsewhere = ("CREDIRA_GATEWAY__TENANTS__0__UPSTREAM_KEY__VALUE", "k");
    assert!(load_with(&file, &[elsewhere]).is_ok());
    let twice = [elsewhere, ("CREDIRA_GATEWAY__TENANTS__0__UPSTREAM_KEY__FILE", "k")];
    assert!(load_with(&file, &twice).unwrap_err()[0].contains("expected one of"));
}

#[test]
fn an_override_of_no_key_is_a_problem_that_names_the_variable() {
    let found = load_with(
        &tenant("a"),
        &[
            ("CREDIRA_GATEWAY__CACHE__TLL", "2h"),
            ("CREDIRA_GATEWAY__CACHE__TTL", "secret-looking"),
            ("CREDIRA_GATEWAY__CACHE", "x"),
            ("CREDIRA_GATEWAY__TENANTS__1__NAME", "x"),
        ],
    )
    .unwrap_err();
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found.iter().all(|line| line.starts_with("environment variable CREDIRA_GATEWAY__")),
        "{found:#?}"
    );
    assert!(!found.concat().contains("secret-looking"));
}

#[test]
fn syntax_errors_say_where() {
    let found = problems("[cache\nttl = \"1h\"\n");
    assert!(found[0].starts_with("g.toml:1:"), "{found:?}");
    assert!(found[0].contains("not TOML"));
}

#[test]
fn the_effective_configuration_shows_no_secret_and_reads_as_toml() {
    let text = format!(
        "[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"{HEX}\"]\nupstream_key = {{ value = \"hunter2\" }}\n\
         tokens = [{{ value = \"hunter2-hunter2-hunter2-hunter2-hunter2\" }}]\n\
         rate_limit = {{ per_minute = 30, burst = 2 }}\n"
    );
    let shown = EffectiveConfig::of(&settings(&text)).to_toml();
    assert!(!shown.contains("hunter2") && !shown.contains(HEX), "{shown}");
    let parsed: toml::Table = shown.parse().unwrap();
    assert_eq!(parsed["cache"]["ttl"].as_str(), Some("24h"));
    assert_eq!(parsed["tenants"][0]["rate_limit"]["per_second"].as_float(), Some(0.5));
}

/// `UPDATE=1 cargo test --lib schema` regenerates the file.
#[test]
fn the_schema_is_generated_from_the_types() {
    // The defaults of whole tables repeat those of their keys.
    let drop_table_defaults = |schema: &mut Schema| {
        if schema.get("default").is_some_and(serde_json::Value::is_object) {
            schema.remove("default");
        }
    };
    let mut schema = schemars::schema_for!(RawConfig);
    RecursiveTransform(drop_table_defaults).transform(&mut schema);
    schema.insert("$comment".into(), "Generated by `credira-gateway schema`.".into());
    let generated = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.schema.json");
        std::fs::write(file, &generated).unwrap();
    }
    assert!(
        SCHEMA == generated,
        "config/gateway.schema.json differs; UPDATE=1 cargo test --lib schema regenerates it"
    );
}

/// Keys that the tests of every key leave out: files that this machine hasn't, and a second way to write a rate.
fn is_optional(key: &str) -> bool {
    key.ends_with("per_minute")
        || key.contains(".tls")
        || key.ends_with("ca_file")
        || key.starts_with("shared.client_")
}

/// Every key of the schema as a path, list entries as `[]`.
fn schema_keys() -> Vec<String> {
    fn walk(node: &SchemaNode, path: &str, keys: &mut Vec<String>) {
        match node {
            SchemaNode::Table(table) => {
                for (name, inner, _) in &table.keys {
                    walk(inner, &join(path, name), keys);
                }
            }
            SchemaNode::List(items) if matches!(**items, SchemaNode::Table(_)) => {
                walk(items, &format!("{path}[]"), keys)
            }
            _ => keys.push(path.to_owned()),
        }
    }
    let mut keys = Vec::new();
    walk(&SchemaNode::of_config(), "", &mut keys);
    keys
}

#[test]
fn the_effective_configuration_shows_every_key() {
    let text = "[admin]\ntoken = { value = \"0123456789abcdef0123456789abcdef\" }\n\
                refresh_token = { value = \"fedcba9876543210fedcba9876543210\" }\n\
                [disk]\npath = \"/level\"\nkey = { value = \"0123456789abcdef0123456789abcdef\" }\n\
                [shared]\nurls = [\"redis://127.0.0.1\"]\nmode = \"sentinel\"\nsentinel_master = \"m\"\n\
                user = \"u\"\npassword = { value = \"p\" }\nsentinel_user = \"s\"\n\
                sentinel_password = { value = \"q\" }\nkey = { value = \"0123456789abcdef0123456789abcdef\" }\n"
        .to_owned()
        + &tenant("a")
        + "upstream_key_next = { value = \"n\" }\nrate_limit = { per_second = 1 }\n\
           upstream_limit = { per_second = 1 }\n\
           [[passthrough]]\nmethod = \"POST\"\npath = \"/v1/calls\"\nquery = [\"a\"]\ntenants = [\"a\"]\n";
    let shown: toml::Table = EffectiveConfig::of(&settings(&text)).to_toml().parse().unwrap();
    for key in schema_keys() {
        if is_optional(&key) {
            continue;
        }
        let mut value = &toml::Value::Table(shown.clone());
        for step in key.split('.') {
            value = match step.strip_suffix("[]") {
                Some(list) => &value[list][0],
                None => value.get(step).unwrap_or_else(|| panic!("{key} is not shown")),
            };
        }
    }
}

/// The example with its commented-out keys uncommented.
fn uncommented(text: &str) -> String {
    let key = |line: &str| {
        let rest = line.strip_prefix("# ")?;
        let name = rest.split(" =").next()?;
        let plain = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
        (rest.starts_with("[[") || (plain && rest.contains(" = "))).then(|| rest.to_owned())
    };
    text.lines().map(|line| key(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_example_documents_every_key_with_its_default() {
    let example = include_str!("../../config/gateway.toml");
    let variables: BTreeMap<String, String> =
        [("CREDIRA_KEY_BILLING", "k"), ("CREDIRA_KEY_BILLING_NEXT", "n"), ("GATEWAY_TOKEN_BILLING", HEX)]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
    let load = |text: String| load_text(Path::new("g.toml"), text, &variables).unwrap().settings;
    let example_settings = load(example.into());
    let mut defaults = settings(&tenant("a"));
    defaults.tenants.clone_from(&example_settings.tenants);
    assert_eq!(EffectiveConfig::of(&example_settings).to_toml(), EffectiveConfig::of(&defaults).to_toml());

    let everything: toml::Table = uncommented(example).parse().unwrap();
    // The files that it names don't exist here, so only its keys and kinds of values are checked.
    let parsed = parse(Path::new("g.toml"), uncommented(example), &variables).unwrap();
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    for key in schema_keys() {
        if is_optional(&key) {
            continue;
        }
        let mut value = &toml::Value::Table(everything.clone());
        for step in key.split('.') {
            let (step, list) = step.strip_suffix("[]").map_or((step, false), |step| (step, true));
            value = value.get(step).unwrap_or_else(|| panic!("{key} is not in config/gateway.toml"));
            if list {
                value = &value[0];
            }
        }
    }
}

#[test]
fn the_minimal_example_loads() {
    let variables = BTreeMap::from([("CREDIRA_KEY_BILLING".to_owned(), "k".to_owned())]);
    let text = include_str!("../../config/gateway.minimal.toml").to_owned();
    assert_eq!(load_text(Path::new("g.toml"), text, &variables).unwrap().settings.tenants.len(), 1);
}

#[test]
fn listeners_that_cannot_be_bound_are_problems() {
    let long = format!("unix:/{}", "x".repeat(107));
    for (lines, expected) in [
        (
            "[listen]\naddress = [\"127.0.0.1:80\", \"127.0.0.1:80\"]\n",
            "listen.address: two of these addresses cannot be bound together",
        ),
        ("[listen]\naddress = \"127.0.0.1:9090\"\n", "admin.address: expected another address than"),
        (&format!("[listen]\naddress = \"{long}\"\n"), "listen.address: expected an address such as"),
        (
            "[listen]\naddress = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\n[limits]\nmax_connections = 1\n",
            "limits.max_connections: expected at least one for each of listen.address",
        ),
    ] {
        let found = problems(&(lines.to_owned() + &tenant("a")));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn the_files_to_be_watched_start_at_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    std::fs::write(folder.path().join("ca.pem"), certified.cert.pem()).unwrap();
    let text = "[upstream]\nca_file = \"ca.pem\"\n".to_owned() + &tenant("a");
    let file = folder.path().join("g.toml");
    let settings = load_text(&file, text, &BTreeMap::new()).unwrap().settings;
    assert_eq!(settings.files(&file), [folder.path().join("ca.pem")]);
    let roots = settings.upstream.extra_roots.unwrap();
    assert_eq!(roots.file(), Path::new("ca.pem"));
}
