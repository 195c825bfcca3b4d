//! `check --probe`: whether the upstream of a configuration can be reached and accepts its keys, and whether the levels can
//! be used. Serves nothing.

use http::StatusCode;
use serde::Deserialize;

use super::probe_levels::probe_levels;
use super::probed::Probed;
use crate::config::{Settings, TenantSettings};
use crate::domain::CallId;
use crate::upstream::{Probe, ProbeAnswer};

/// Probes the upstream, each tenant's keys, and the levels, and passes every result to `report` as it arrives.
pub(crate) async fn probe(settings: &Settings, mut report: impl FnMut(Probed)) -> Result<(), rustls::Error> {
    probe_upstream(settings, &mut report).await?;
    probe_levels(settings, &mut report).await;
    Ok(())
}

/// Tries no key if the upstream is unreachable.
async fn probe_upstream(settings: &Settings, report: &mut impl FnMut(Probed)) -> Result<(), rustls::Error> {
    let probe = Probe::new(&settings.upstream)?;
    let base_url = &settings.upstream.base_url;
    match probe.reach().await {
        Ok(()) if base_url.is_plaintext() => report(Probed::Passed(format!("{base_url}: connected"))),
        Ok(()) => report(Probed::Passed(format!("{base_url}: connected, certificate verified"))),
        Err(why) => {
            report(Probed::Failed(format!("{base_url}: {why}")));
            return Ok(());
        }
    }
    for tenant in &settings.tenants {
        report(probe_tenant(&probe, tenant).await);
    }
    Ok(())
}

async fn probe_tenant(probe: &Probe<'_>, tenant: &TenantSettings) -> Probed {
    let next = tenant.upstream_key_next.as_ref().map(|(key, _)| ("upstream_key_next", key));
    let mut results = Vec::new();
    for (name, key) in [("upstream_key", &tenant.upstream_key)].into_iter().chain(next) {
        let verdict = match nonexistent() {
            Some(call) => probe.ask(&call, key).await.map_or_else(|why| Err(why.to_owned()), verdict),
            None => Err("no ID could be made".to_owned()),
        };
        results.push((name, verdict));
    }
    let failed = results.iter().any(|(_, verdict)| verdict.is_err());
    let texts = results.into_iter().map(|(name, verdict)| match verdict {
        Ok(note) => format!("{name} {note}"),
        Err(why) => format!("{name} failed: {why}"),
    });
    let line = format!("{}: {}", tenant.name, texts.collect::<Vec<_>>().join("; "));
    if failed { Probed::Failed(line) } else { Probed::Passed(line) }
}

/// The ID of a call that can't exist: a random one. Its prefix is one that the stand-in answers with 404.
fn nonexistent() -> Option<CallId> {
    CallId::parse(format!("call_missing{:032x}", fastrand::u128(..)).as_bytes()).ok()
}

/// Interprets the answer to a request for a nonexistent call, to judge the key.
fn verdict(answer: ProbeAnswer) -> Result<String, String> {
    let ProbeAnswer { status, body } = answer;
    let code = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED => Err("the upstream rejected the key with 401".into()),
        StatusCode::FORBIDDEN if is_envelope(&body) => {
            Ok("accepted, but the upstream answered 403: check the key's permissions".into())
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Err("the upstream answered 429, so the key could not be tried: try again later".into())
        }
        StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND if is_envelope(&body) => {
            Ok(format!("accepted ({code})"))
        }
        _ if status.is_server_error() => Err(format!("the upstream answered {code}: try again later")),
        _ => Err(format!(
            "unexpected answer with status {code}: check that upstream.base_url is the Credira API"
        )),
    }
}

/// Whether a body comes from the API and not, for example, from another web server.
fn is_envelope(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ApiEnvelope {
        #[serde(rename = "success")]
        _success: bool,
    }
    serde_json::from_slice::<ApiEnvelope>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &'static str) -> Result<String, String> {
        verdict(ProbeAnswer { status: StatusCode::from_u16(status).unwrap(), body: body.into() })
    }

    #[test]
    fn a_404_of_the_api_shows_that_the_key_is_accepted() {
        let envelope = r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"}}"#;
        assert_eq!(judged(404, envelope), Ok("accepted (404)".into()));
        assert!(judged(404, "<html>").unwrap_err().contains("upstream.base_url"));
        assert!(judged(403, envelope).unwrap().contains("403"));
        for (status, why) in [(401, "rejected"), (403, "base_url"), (429, "429"), (503, "503"), (302, "302")]
        {
            assert!(judged(status, "").unwrap_err().contains(why), "{status}");
        }
    }

    #[test]
    fn each_probe_requests_another_call() {
        assert_ne!(nonexistent(), nonexistent());
        assert!(nonexistent().is_some());
    }
}
