//! Why a call has no result: a kind for programs, a sentence for the reader.

use std::borrow::Cow;

use llmc_core::manifest::GrantKind;
use llmc_core::{MISSING_GRANT, code};
use llmc_wire::host::Failure;
use serde_json::Value;

/// Kinds of failures with their names, and a list of them, so that documents cannot fall behind.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal,)+) => {
        /// What kind of failure it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// All of them, with what they mean.
            pub(crate) const ALL: &[(Self, &[&str])] = &[$((Self::$kind, &[$($doc),+])),+];

            /// The name in audit records and in the metadata of results.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    /// There is no such tool, or it is not shown to this caller.
    UnknownTool = "unknown_tool",
    /// There is no such resource.
    NotFound = "not_found",
    /// A grant or a policy does not allow it; the text names the key that would.
    Denied = "denied",
    /// A person said no.
    Declined = "declined",
    /// A person would have to consent, and cannot be asked.
    Unconfirmed = "unconfirmed",
    /// The client is asked something, and then makes the call again.
    InputRequired = "input_required",
    /// The client cannot be asked what the tool has to know.
    ClientLacks = "client_lacks",
    /// The state that the client handed back is not what it was given.
    InvalidState = "invalid_state",
    /// The arguments do not fit the schema; the text names each that does not.
    InvalidArguments = "invalid_arguments",
    /// A limit on size, number, rate or depth was reached.
    Limit = "limit",
    /// There was no free place within `limits.queue_timeout_ms`; the same call may go well later.
    Busy = "busy",
    /// It took longer than `limits.call_timeout_ms`.
    TimedOut = "timed_out",
    /// The caller withdrew it.
    Cancelled = "cancelled",
    /// The plugin's host is gone or cannot be started.
    PluginFailed = "plugin_failed",
    /// The tool says that it failed.
    ToolFailed = "tool_failed",
    /// The tool answered with something that its own description does not allow.
    InvalidResult = "invalid_result",
    /// The audit cannot be written, so nothing is done (`audit.on_failure`).
    AuditFailed = "audit_failed",
}

impl Kind {
    /// What refuses calls in this way, where it is always the same.
    fn rule(self) -> Option<&'static str> {
        match self {
            Self::Declined | Self::Unconfirmed => Some("policy.confirm"),
            _ => None,
        }
    }
}

/// A refused or failed call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CallError {
    pub(crate) kind: Kind,
    /// What happened, where, and what to do next.
    pub(crate) message: String,
    /// What refused it, for the audit: a key of the configuration, or a part of the server.
    pub(crate) rule: Option<Cow<'static, str>>,
}

impl CallError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), rule: kind.rule().map(Cow::Borrowed) }
    }

    /// Names what refused it.
    pub(crate) fn by(self, rule: &'static str) -> Self {
        Self { rule: Some(rule.into()), ..self }
    }

    /// What a plugin said went wrong. Where it names a kind of grant that it lacks, `advice` tells how to add it: a
    /// plugin does not know its own name in the configuration.
    pub(crate) fn from_plugin(
        failure: Failure,
        tool: &str,
        plugin: &str,
        advice: impl FnOnce(GrantKind) -> String,
    ) -> Self {
        let kind = match failure.code {
            code::INVALID_ARGUMENTS => Kind::InvalidArguments,
            code::DENIED => Kind::Denied,
            code::CANCELLED => Kind::Cancelled,
            code::TIMED_OUT => Kind::TimedOut,
            code::LIMIT => Kind::Limit,
            code::UNKNOWN_ITEM => Kind::NotFound,
            code::INPUT_REQUIRED => Kind::InputRequired,
            code::CLIENT_LACKS => Kind::ClientLacks,
            _ => Kind::ToolFailed,
        };
        let missing = failure.data.and_then(|mut data| data.get_mut(MISSING_GRANT).map(Value::take));
        let grant: Option<GrantKind> = missing.and_then(|grant| serde_json::from_value(grant).ok());
        let rule = match (grant, kind) {
            (Some(grant), _) => Some(grant_key(grant).into()),
            (None, Kind::Denied | Kind::Limit) => Some("plugin".into()),
            (None, Kind::TimedOut) => Some(CALL_TIMEOUT.into()),
            (None, _) => None,
        };
        // A plugin that watches its deadline may answer before the server gives the call up.
        let hint = match kind {
            Kind::TimedOut => Some(format!(" (`{CALL_TIMEOUT}`)")),
            _ => grant.map(advice),
        };
        // In nested calls it matters whose limit it was.
        let whose =
            if kind == Kind::Limit { format!("`{tool}` of plugin `{plugin}`: ") } else { String::new() };
        Self { kind, message: whose + &failure.message + &hint.unwrap_or_default(), rule }
    }

    /// The same failure for a plugin that made the call.
    pub(crate) fn to_plugin(&self) -> Failure {
        let code = match self.kind {
            Kind::UnknownTool | Kind::NotFound => code::UNKNOWN_ITEM,
            Kind::InvalidArguments => code::INVALID_ARGUMENTS,
            Kind::Denied | Kind::Declined | Kind::Unconfirmed | Kind::InvalidState | Kind::AuditFailed => {
                code::DENIED
            }
            Kind::InputRequired => code::INPUT_REQUIRED,
            Kind::ClientLacks => code::CLIENT_LACKS,
            Kind::Limit | Kind::Busy => code::LIMIT,
            Kind::TimedOut => code::TIMED_OUT,
            Kind::Cancelled => code::CANCELLED,
            Kind::PluginFailed | Kind::ToolFailed | Kind::InvalidResult => code::FAILED,
        };
        Failure { code, message: self.message.clone(), data: None }
    }
}

/// The limit that ends a call.
pub(crate) const CALL_TIMEOUT: &str = "limits.call_timeout_ms";

/// The key of the configuration that gives it.
fn grant_key(grant: GrantKind) -> &'static str {
    match grant {
        GrantKind::Roots => "grants.roots",
        GrantKind::Run => "grants.run",
        GrantKind::Tools => "grants.tools",
        GrantKind::Secrets => "grants.secrets",
        GrantKind::State => "grants.state",
        GrantKind::Net | GrantKind::Unknown => "grants",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_sees_its_deadline_first_names_the_limit_too() {
        let failure =
            Failure { code: code::TIMED_OUT, message: "the deadline has passed".into(), data: None };
        let error = CallError::from_plugin(failure, "sleep", "stress", |_| unreachable!());
        assert_eq!((error.kind, error.rule.as_deref()), (Kind::TimedOut, Some(CALL_TIMEOUT)));
        assert_eq!(error.message, "the deadline has passed (`limits.call_timeout_ms`)");

        let failure = Failure { code: code::FAILED, message: "no such file".into(), data: None };
        let error = CallError::from_plugin(failure, "read", "fs", |_| unreachable!());
        assert_eq!(
            (error.kind, error.rule, error.message.as_str()),
            (Kind::ToolFailed, None, "no such file")
        );
    }
}
