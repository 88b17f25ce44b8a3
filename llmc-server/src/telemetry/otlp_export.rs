//! The part of [`super`] that needs OpenTelemetry.

use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanProcessor as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tracing::debug;

use super::Span;

/// Longest time for a collector to take a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often batches are sent.
const INTERVAL: Duration = Duration::from_secs(2);

/// Spans that wait; more are dropped.
const MAX_WAITING: usize = 2048;

/// A collector's answer says little.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Where spans go.
pub(crate) struct Spans {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

/// Begins to send spans to a collector: the address of its HTTP receiver, such as `http://127.0.0.1:4318`.
///
/// # Errors
///
/// When there can be no such collector.
pub(crate) fn start(endpoint: &str) -> anyhow::Result<Spans> {
    let uri: Uri = endpoint.parse().with_context(|| format!("telemetry.otlp: `{endpoint}` is no URL"))?;
    anyhow::ensure!(
        uri.scheme_str() == Some("http") && uri.host().is_some(),
        "telemetry.otlp: `{endpoint}` must begin with `http://`: run a collector on this machine, which may forward \
         over TLS"
    );
    let path = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client { runtime: Handle::current() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(path)
        .with_timeout(TIMEOUT)
        .build()
        .context("telemetry.otlp: no exporter can be made")?;
    let batches =
        BatchConfigBuilder::default().with_max_queue_size(MAX_WAITING).with_scheduled_delay(INTERVAL).build();
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder().with_service_name("llmc");
    processor.set_resource(
        &resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build(),
    );
    Ok(Spans { processor, scope: InstrumentationScope::builder("llmc").build() })
}

impl Spans {
    /// Adds a span to the next batch; never waits.
    pub(crate) fn send(&self, span: &Span<'_>) {
        let trace = TraceId::from_hex(&span.trace.id).unwrap_or(TraceId::INVALID);
        let context = SpanContext::new(
            trace,
            SpanId::from(span.trace.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        );
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", span.tool.to_owned()),
            KeyValue::new("llmc.caller", span.caller.to_owned()),
            KeyValue::new("llmc.call", i64::try_from(span.call).unwrap_or(i64::MAX)),
            KeyValue::new("llmc.outcome", span.outcome),
        ];
        attributes.extend(span.plugin.map(|plugin| KeyValue::new("llmc.plugin", plugin.to_owned())));
        let status = match span.outcome {
            "ok" => Status::Ok,
            outcome => Status::error(outcome),
        };
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: SpanId::from(span.trace.above.map_or(0, |above| above.span)),
            parent_span_is_remote: false,
            span_kind: SpanKind::Server,
            name: format!("execute_tool {}", span.tool).into(),
            start_time: span.ended - span.took,
            end_time: span.ended,
            attributes,
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

impl Drop for Spans {
    /// Sends what waits, before the end. Blocks, but no longer than a collector may take.
    fn drop(&mut self) {
        if let Err(error) = self.processor.shutdown_with_timeout(TIMEOUT) {
            debug!(%error, "the last spans were not sent");
        }
    }
}

/// One request on a connection of its own: batches are far apart.
#[derive(Debug)]
struct Client {
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    /// Called in the thread of the batches, where there is no runtime.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = self.runtime.spawn(async { tokio::time::timeout(TIMEOUT, sent(request)).await });
        sending.await??
    }
}

async fn sent(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().ok_or("no host in the address")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    head.headers.insert(hyper::header::HOST, authority.as_str().parse()?);
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(Request::from_parts(head, Full::new(body))).await;
    let answer = match response {
        Ok(response) => {
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        }
        Err(error) => Err(error.into()),
    };
    connection.abort();
    answer
}
