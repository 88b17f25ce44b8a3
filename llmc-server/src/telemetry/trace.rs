//! W3C trace context: the trace and the span that a call belongs to.
//!
//! `traceparent` comes with a request (`_meta` since MCP 2026-07-28, else the HTTP header); a call without one begins a
//! trace. All calls below a call belong to its trace.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes of `00-TRACE-SPAN-FLAGS`, see <https://www.w3.org/TR/trace-context/#traceparent-header>.
const TRACEPARENT_BYTES: usize = 55;

/// The span above one, which another program or another call began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Above {
    pub(crate) span: u64,
    /// Whether its spans are kept: a trace is exported as a whole or not at all.
    pub(crate) sampled: bool,
}

/// A call's place in a trace.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// 32 hexadecimal digits.
    pub(crate) id: Arc<str>,
    pub(crate) span: u64,
    pub(crate) above: Option<Above>,
}

impl Trace {
    /// A new span.
    pub(crate) fn begin(id: Arc<str>, above: Option<Above>) -> Self {
        Self { id, span: new_id(), above }
    }

    /// What the calls below it have above them.
    pub(crate) fn below(&self) -> Above {
        Above { span: self.span, sampled: self.sampled() }
    }

    pub(crate) fn sampled(&self) -> bool {
        self.above.is_none_or(|above| above.sampled)
    }
}

/// Begins a trace.
pub(crate) fn new_trace_id() -> Arc<str> {
    let mut text = String::with_capacity(32);
    // Writing to a string cannot fail.
    let _ = write!(text, "{:016x}{:016x}", new_id(), new_id());
    text.into()
}

/// Reads a `traceparent`; none if it is not one.
pub(crate) fn parse_traceparent(text: &str) -> Option<(Arc<str>, Above)> {
    // Later versions may append fields, behind another `-`.
    let (head, more) = text.split_at_checked(TRACEPARENT_BYTES)?;
    let mut fields = head.split('-');
    let (version, trace) = (hex(fields.next()?, 2)?, fields.next()?);
    let (span, flags) = (hex(fields.next()?, 16)?, hex(fields.next()?, 2)?);
    let is_whole = match version {
        0 => more.is_empty(),
        0xff => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    let is_trace = trace.len() == 32 && hex(&trace[..16], 16)? | hex(&trace[16..], 16)? != 0;
    (is_whole && is_trace && span != 0 && fields.next().is_none())
        .then(|| (trace.into(), Above { span, sampled: flags & 1 == 1 }))
}

/// Small letters only, as the specification says.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_digit)).then(|| u64::from_str_radix(text, 16).ok())?
}

/// An identifier that this process has not used, and hardly any other has; never zero. It protects nothing.
fn new_id() -> u64 {
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        // Without random bytes the numbers are those of every process, which disturbs nobody but who reads traces.
        let _ = getrandom(&mut bytes, GetRandomFlags::empty());
        u64::from_ne_bytes(bytes)
    });
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    mixed(SEED.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15))).max(1)
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014): one to one, so nothing repeats.
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_traceparent_is_read() {
        let (trace, above) = parse_traceparent(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!((&*trace, above), (TRACE, Above { span: 0x00f0_67aa_0ba9_02b7, sampled: true }));
        let (_, above) = parse_traceparent(&format!("00-{TRACE}-00f067aa0ba902b7-00")).unwrap();
        assert!(!above.sampled);
        assert!(parse_traceparent(&format!("cc-{TRACE}-00f067aa0ba902b7-01-what-comes")).is_some());
    }

    #[test]
    fn what_is_none_is_refused() {
        let zero = "0".repeat(32);
        for text in [
            "",
            "00",
            &"ä".repeat(40),
            &format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            &format!("cc-{TRACE}-00f067aa0ba902b7-01more"),
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-{zero}-00f067aa0ba902b7-01"),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{TRACE}-00f067aa0ba902b-701"),
            &format!("00-{}-0f067aa0ba902b7-+1", &TRACE[1..]),
            &format!("00-{TRACE}-+0f067aa0ba902b7-01"),
            &format!("00 {TRACE} 00f067aa0ba902b7 01"),
        ] {
            assert!(parse_traceparent(text).is_none(), "{text}");
        }
    }

    #[test]
    fn identifiers_do_not_repeat() {
        let ids: BTreeSet<Arc<str>> = (0..1_000).map(|_| new_trace_id()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| parse_traceparent(&format!("00-{id}-00f067aa0ba902b7-01")).is_some()));
    }

    #[test]
    fn calls_below_are_kept_as_those_above() {
        let above = Above { span: 7, sampled: false };
        let outer = Trace::begin(TRACE.into(), Some(above));
        let inner = Trace::begin(Arc::clone(&outer.id), Some(outer.below()));
        assert_eq!(inner.above.map(|above| above.span), Some(outer.span));
        assert!(!inner.sampled() && inner.span != outer.span);
        assert!(Trace::begin(new_trace_id(), None).sampled());
    }
}
