//! What every client of a connection has in common: settings, log lines, and errors by what a caller can do.

use std::sync::Arc;
use std::time::Duration;

use lsie_schemas::Topic;
use lsie_schemas::log::{LogError, MAX_RECORD_BYTES};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::KafkaConfig;
use super::probe::probe;
use super::renewed::Renewed;
use crate::clock::now;

/// How soon a request is repeated.
const AGAIN: Duration = Duration::from_millis(50);
/// An unanswered request has this part of its time before it is repeated, if need be by another client.
const ATTEMPTS: u32 = 3;

/// A checked configuration, from which clients are made.
pub(super) struct Connection {
    config: KafkaConfig,
}

/// Receives what librdkafka tells beside its results.
#[derive(Clone, Copy)]
pub(super) struct Events;

impl ClientContext for Events {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // A broker that is away is told by the log's own errors; librdkafka repeats it per connection.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {text}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if facility != "FAIL" => {
                tracing::warn!(facility, "librdkafka: {text}");
            }
            _ => tracing::debug!(facility, "librdkafka: {text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Events {}

impl Connection {
    pub(super) fn new(config: KafkaConfig) -> Result<Connection, LogError> {
        config.check()?;
        Ok(Connection { config })
    }

    pub(super) fn config(&self) -> &KafkaConfig {
        &self.config
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.config.bootstrap
    }

    pub(super) fn timeout(&self) -> Duration {
        self.config.timeout
    }

    /// The time limit in milliseconds, as librdkafka takes it.
    pub(super) fn timeout_ms(&self) -> String {
        self.config.timeout.as_millis().to_string()
    }

    /// The full name of a topic.
    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}{}", self.config.prefix, topic.name())
    }

    /// The settings that all clients share.
    pub(super) fn settings(&self, role: &str) -> ClientConfig {
        let mut client = ClientConfig::new();
        // Without this the level is that of the `log` crate, which nobody sets up here.
        client.set_log_level(RDKafkaLogLevel::Warning);
        client.set("client.id", format!("lsie-{role}"));
        client.set("socket.keepalive.enable", "true");
        client.set("reconnect.backoff.max.ms", "2000");
        // A partition that was without a leader for a moment is looked for again soon, not after five minutes: until then a
        // producer delivers nothing to it.
        client.set("topic.metadata.refresh.interval.ms", "5000");
        for (key, value) in self.config.client() {
            client.set(key, value);
        }
        client.set("bootstrap.servers", &self.config.bootstrap);
        client.set("socket.timeout.ms", self.config.timeout.as_millis().clamp(10, 300_000).to_string());
        client
    }

    /// A client in its role, with its own settings over the shared ones.
    pub(super) fn create<T: FromClientConfigAndContext<Events>>(
        &self,
        role: &str,
        own: impl FnOnce(&mut ClientConfig),
    ) -> Result<T, LogError> {
        let mut client = self.settings(role);
        own(&mut client);
        client.create_with_context(Events).map_err(|e| self.error("be set up", &e))
    }

    /// A client of this connection that is made anew when it does not reach the log.
    pub(super) fn renewed<T>(
        self: &Arc<Self>,
        role: &'static str,
        make: impl Fn(&Connection) -> Result<T, LogError> + Send + Sync + 'static,
    ) -> Renewed<T> {
        let connection = self.clone();
        Renewed::new(role, move || make(&connection))
    }

    /// Repeats a request that changes nothing while its failure may pass by itself: a leader that moves, a
    /// broker that restarts, a client that is stuck.
    pub(super) fn patiently<C, T>(
        &self,
        doing: &str,
        limit: Duration,
        asked: &Renewed<C>,
        mut request: impl FnMut(&C, Duration) -> Result<T, KafkaError>,
    ) -> Result<T, LogError> {
        let deadline = now() + limit;
        loop {
            let client = asked.get()?;
            let left = deadline.saturating_duration_since(now());
            let answer = request(&client, left.min(limit / ATTEMPTS).max(AGAIN));
            asked.heard(&client, &answer);
            match answer {
                Ok(answer) => return Ok(answer),
                Err(e) if now() + AGAIN < deadline && e.rdkafka_error_code().is_some_and(passes) => {
                    std::thread::sleep(AGAIN);
                }
                Err(e) => return Err(self.error(doing, &e)),
            }
        }
    }

    /// The error of a request, with the broker's address.
    pub(super) fn error(&self, doing: &str, error: &KafkaError) -> LogError {
        match error {
            KafkaError::ClientConfig(_, description, key, value) => {
                LogError::Refused(format!("kafka property {key} = {value:?}: {description}"))
            }
            KafkaError::AdminOp(code) => self.coded(doing, *code, ""),
            KafkaError::Transaction(e) => self.coded(doing, e.code(), &e.string()),
            other => match other.rdkafka_error_code() {
                Some(code) => self.coded(doing, code, ""),
                None => LogError::Unavailable(self.text(doing, &other.to_string())),
            },
        }
    }

    /// The error for a code of librdkafka or the broker; `detail` in place of the code's own text.
    pub(super) fn coded(&self, doing: &str, code: RDKafkaErrorCode, detail: &str) -> LogError {
        use RDKafkaErrorCode as Code;
        let what = if detail.is_empty() { code.to_string() } else { detail.to_owned() };
        let text = self.text(doing, &what);
        match code {
            Code::UnknownTopicOrPartition | Code::UnknownTopic => LogError::Missing(text),
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => LogError::Fenced(text),
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
                let mend =
                    format!("{text}; mend: raise max.message.bytes of the topic above {MAX_RECORD_BYTES}");
                LogError::Refused(mend)
            }
            Code::BadMessage | Code::BadCompression | Code::InvalidMessage | Code::KafkaStorageError => {
                LogError::Corrupt(text)
            }
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => {
                LogError::Unavailable(format!("{text}; {}", probe(&self.config.bootstrap)))
            }
            _ if refuses(code) => LogError::Refused(text),
            _ => LogError::Unavailable(text),
        }
    }

    fn text(&self, doing: &str, what: &str) -> String {
        format!("kafka at {} could not {doing}: {what}", self.config.bootstrap)
    }
}

/// Whether a failure may pass by itself.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    let passes = matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::RequestTimedOut
            // librdkafka's own: it met the connection while it was being renewed.
            | Code::DestroyBroker
    );
    passes || is_unanswered(code)
}

/// Whether no broker has said anything; a client that is stuck says this, too.
pub(super) fn is_unanswered(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::OperationTimedOut
            // librdkafka's own: it holds on to an answer that named no leader, and asks no more for many seconds.
            | Code::UnknownPartition
    )
}

/// Whether waiting does not help: configuration or permission.
fn refuses(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::UnsupportedSASLMechanism
            | Code::SSL
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidRequest
            | Code::InvalidTransactionTimeout
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::TopicAlreadyExists
            | Code::UnsupportedVersion
            | Code::InvalidArgument
    )
}
