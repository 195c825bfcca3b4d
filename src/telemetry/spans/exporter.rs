//! Sets up the exporter from the variables of OpenTelemetry's "Environment Variable Specification". A mistake
//! in them costs traces, never the start.

use std::time::Duration;

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::otlp_http_client::OtlpHttpClient;
use crate::telemetry::VERSION;

/// The samplers that the library implements.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];
const DEFAULT_SAMPLER: &str = "parentbased_always_on";
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The only supported protocol.
const PROTOCOL: &str = "http/protobuf";

/// A provider that exports to the collector; `None` if no export is configured.
pub(crate) fn provider_of_environment() -> Option<SdkTracerProvider> {
    if !is_wanted() {
        return None;
    }
    let endpoint = of_traces("ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let collector = without_secrets(&endpoint);
    let certificate = of_traces("CERTIFICATE");
    let otlp_http_client = match OtlpHttpClient::new(certificate.as_deref(), timeout()) {
        Ok(otlp_http_client) => otlp_http_client,
        Err(error) => {
            tracing::error!(
                error,
                "traces are not exported: OTEL_EXPORTER_OTLP_CERTIFICATE can't be used; requests are not affected"
            );
            return None;
        }
    };
    let builder = SpanExporter::builder().with_http().with_http_client(otlp_http_client);
    // The library's messages may contain an endpoint's credentials.
    let Ok(exporter) = builder.with_protocol(Protocol::HttpBinary).build() else {
        tracing::error!(
            "traces are not exported: OTEL_EXPORTER_OTLP_ENDPOINT is no URL; requests are not affected"
        );
        return None;
    };
    warn_of_what_is_not_supported();
    let sampler = sampler();
    tracing::info!(collector, sampler, "exporting traces by OTLP");
    Some(SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build())
}

/// Traces are exported if a collector or the exporter is named.
fn is_wanted() -> bool {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return false;
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None => of_traces("ENDPOINT").is_some(),
        Some("otlp") => true,
        Some("none") => false,
        Some(_) => {
            tracing::warn!("OTEL_TRACES_EXPORTER: only otlp and none are known; no traces are exported");
            false
        }
    }
}

fn warn_of_what_is_not_supported() {
    if of_traces("PROTOCOL").is_some_and(|protocol| protocol != PROTOCOL) {
        tracing::warn!("OTEL_EXPORTER_OTLP_PROTOCOL: only {PROTOCOL} is spoken, and used: check the port");
    }
    if of_traces("COMPRESSION").is_some_and(|compression| !compression.eq_ignore_ascii_case("none")) {
        tracing::warn!("OTEL_EXPORTER_OTLP_COMPRESSION: nothing is compressed");
    }
}

/// The library reads the sampler itself, but ignores an unknown name silently, so it is checked here.
fn sampler() -> String {
    let name = variable("OTEL_TRACES_SAMPLER").unwrap_or_else(|| DEFAULT_SAMPLER.to_owned());
    if !SAMPLERS.contains(&name.as_str()) {
        tracing::warn!("OTEL_TRACES_SAMPLER: expected one of {SAMPLERS:?}; {DEFAULT_SAMPLER} applies");
        return DEFAULT_SAMPLER.to_owned();
    }
    let share = variable("OTEL_TRACES_SAMPLER_ARG").and_then(|share| share.parse::<f64>().ok());
    match share.filter(|share| (0.0..=1.0).contains(share)) {
        Some(share) if name.ends_with("traceidratio") => format!("{name} {share}"),
        None if name.ends_with("traceidratio") => {
            tracing::warn!("OTEL_TRACES_SAMPLER_ARG: expected a share from 0 to 1; all traces are sampled");
            name
        }
        _ => name,
    }
}

/// The resource that spans belong to. The library adds `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
fn resource() -> Resource {
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = |attribute: &str| attribute.trim_start().starts_with("service.name=");
    let named = variable("OTEL_SERVICE_NAME").is_some() || attributes.split(',').any(is_named);
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", VERSION));
    if named { resource.build() } else { resource.with_service_name("credira-gateway").build() }
}

fn timeout() -> Duration {
    let milliseconds = of_traces("TIMEOUT").and_then(|timeout| timeout.parse().ok());
    milliseconds.filter(|timeout| *timeout > 0).map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

/// Scheme, host and port.
fn without_secrets(endpoint: &str) -> String {
    let shown = endpoint.parse::<Uri>().ok().and_then(|uri| {
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
    });
    shown.unwrap_or_default()
}

/// The variable for traces, else the one for all signals.
fn of_traces(name: &str) -> Option<String> {
    variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
        .or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

/// The specification treats an empty variable as unset.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_shown_without_its_secrets() {
        for (endpoint, shown) in [
            ("http://collector:4318", "http://collector:4318"),
            ("https://user:secret@collector.test/secret?token=secret", "https://collector.test"),
            ("nonsense secret", ""),
        ] {
            assert_eq!(without_secrets(endpoint), shown);
        }
    }
}
