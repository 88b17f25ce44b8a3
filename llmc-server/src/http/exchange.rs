//! A call of a client of an earlier revision, which can be asked something while it waits.
//!
//! The question goes out on the stream that will carry the result; the answer comes as a request of its own. The two
//! find each other by the question's id, which nobody can guess and which is good for the same client alone. So no
//! session is needed, and nothing is left when the call ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use llmc_core::ask::Client;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, GetExtensions as _, GetMeta as _, Implementation,
    InitializeRequestParams, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::serve_directly_with_ct;
use rmcp::transport::Transport;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use super::introduction;
use super::reply::{self, Reply};
use crate::call::Identity;
use crate::mcp::{Answerable, Front, capabilities_of};

/// Methods whose calls can ask something.
const ASKING: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// Messages of one call that wait to be sent.
const MAX_MESSAGES: usize = 16;

/// Answers of one call that wait to be taken.
const MAX_ANSWERS: usize = 16;

/// Questions of one client that wait for their answers.
const MAX_QUESTIONS: usize = 256;

/// How often a silent stream says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// All calls that wait for clients.
pub(super) struct Exchanges {
    front: Front,
    questions: Arc<Questions>,
    end: CancellationToken,
}

/// What became of a request.
pub(super) enum Taken {
    Answered(Reply),
    /// It is not for here.
    Left(Box<Parts>),
}

/// Questions that wait, by id.
#[derive(Default)]
struct Questions(Mutex<HashMap<String, Waiting>>);

struct Waiting {
    /// Whose answer it has to be.
    origin: Arc<str>,
    /// Its id in the call.
    id: RequestId,
    answers: mpsc::Sender<ClientJsonRpcMessage>,
}

impl Exchanges {
    pub(super) fn new(front: Front, end: CancellationToken) -> Self {
        Self { front, questions: Arc::default(), end }
    }

    /// Serves a request, if it is a call that could ask something, or the answer to a question.
    pub(super) async fn take(
        &self,
        mut head: Parts,
        body: &Bytes,
        method: Option<&str>,
        identity: &Identity,
        client: Option<Client>,
    ) -> Taken {
        let is_ours = introduction::is_earlier(&head) && accepts(&head);
        let version = introduction::version(&head).filter(|_| is_ours);
        let Some(version) = version else { return Taken::Left(Box::new(head)) };
        match method {
            None => match self.questions.answered(identity, body) {
                true => return Taken::Answered(reply::plain(StatusCode::ACCEPTED, Bytes::new())),
                false => return Taken::Left(Box::new(head)),
            },
            Some(method) if ASKING.contains(&method) => {}
            Some(_) => return Taken::Left(Box::new(head)),
        }
        let Ok(ClientJsonRpcMessage::Request(mut request)) = serde_json::from_slice(body) else {
            return Taken::Left(Box::new(head));
        };
        let is_call = matches!(
            request.request,
            ClientRequest::CallToolRequest(_)
                | ClientRequest::GetPromptRequest(_)
                | ClientRequest::ReadResourceRequest(_)
        );
        if !is_call || request.request.get_meta().protocol_version().is_some() {
            return Taken::Left(Box::new(head));
        }
        head.extensions.insert(Answerable { introduced: client.is_some() });
        request.request.extensions_mut().insert(head);
        let capabilities = capabilities_of(client.unwrap_or_default());
        let peer = InitializeRequestParams::new(capabilities, Implementation::default())
            .with_protocol_version(version);

        let (sender, messages) = mpsc::channel(MAX_MESSAGES);
        let (answers, answered) = mpsc::channel(MAX_ANSWERS);
        let exchange = Exchange {
            call: Some(ClientJsonRpcMessage::Request(request)),
            messages: sender,
            answers,
            answered,
            questions: Arc::clone(&self.questions),
            origin: Arc::clone(identity.origin()),
            asked: Vec::new(),
            over: CancellationToken::new(),
        };
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let service = serve_directly_with_ct(self.front.handler(), exchange, Some(peer), cancel);
        tokio::spawn(async move {
            // Ends when the call does, or when it is cancelled.
            let _ = service.waiting().await;
        });
        Taken::Answered(self.answer(messages, guard).await)
    }

    /// The result alone, or a stream if something is said before it.
    async fn answer(&self, mut messages: mpsc::Receiver<ServerJsonRpcMessage>, guard: DropGuard) -> Reply {
        let first = tokio::select! {
            first = messages.recv() => first,
            () = self.end.cancelled() => None,
        };
        let Some(first) = first else {
            return reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "the server is stopping"}));
        };
        if is_last(&first) {
            return match serde_json::to_value(&first) {
                Ok(message) => reply::json(StatusCode::OK, &message),
                Err(error) => {
                    reply::json(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error.to_string()}))
                }
            };
        }
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        let stream = Stream {
            first: Some(first),
            messages,
            keep_alive,
            end: Box::pin(self.end.clone().cancelled_owned()),
            is_over: false,
            _guard: guard,
        };
        let mut reply = Response::new(stream.boxed());
        reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        reply
    }
}

impl Questions {
    /// Gives a message to the call that asked, if it is the answer to a question of this client.
    fn answered(&self, identity: &Identity, body: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Answer {
            id: String,
            result: Option<Value>,
            error: Option<Value>,
        }
        let Ok(Answer { id, result, error }) = serde_json::from_slice(body) else { return false };
        let mut waiting = self.lock();
        let Some(question) = waiting.get(&id).filter(|question| question.origin == *identity.origin()) else {
            return false;
        };
        let answer = match (result, error) {
            (Some(result), None) => json!({"jsonrpc": "2.0", "id": question.id, "result": result}),
            (None, Some(error)) => json!({"jsonrpc": "2.0", "id": question.id, "error": error}),
            _ => return false,
        };
        let Ok(answer) = serde_json::from_value(answer) else { return false };
        // A call that no longer waits needs no answer.
        let _ = question.answers.try_send(answer);
        waiting.remove(&id);
        true
    }

    fn add(&self, waiting: Waiting) -> Option<String> {
        let mut bytes = [0; 16];
        getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
        let id = format!("{:032x}", u128::from_le_bytes(bytes));
        let mut all = self.lock();
        let of_client = all.values().filter(|other| other.origin == waiting.origin).count();
        if of_client >= MAX_QUESTIONS {
            return None;
        }
        all.insert(id.clone(), waiting);
        Some(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What rmcp talks to: one call, and answers to what it asks.
struct Exchange {
    call: Option<ClientJsonRpcMessage>,
    messages: mpsc::Sender<ServerJsonRpcMessage>,
    answers: mpsc::Sender<ClientJsonRpcMessage>,
    answered: mpsc::Receiver<ClientJsonRpcMessage>,
    questions: Arc<Questions>,
    origin: Arc<str>,
    asked: Vec<String>,
    /// The result is out.
    over: CancellationToken,
}

impl Exchange {
    /// Gives a question an id by which its answer finds back.
    fn addressed(&mut self, message: ServerJsonRpcMessage) -> Result<ServerJsonRpcMessage, std::io::Error> {
        let ServerJsonRpcMessage::Request(mut question) = message else { return Ok(message) };
        let (answers, origin) = (self.answers.clone(), Arc::clone(&self.origin));
        let waiting = Waiting { origin, id: question.id.clone(), answers };
        let id = self.questions.add(waiting);
        let id = id.ok_or_else(|| std::io::Error::other("too many questions wait for the client"))?;
        question.id = RequestId::String(id.clone().into());
        self.asked.push(id);
        Ok(ServerJsonRpcMessage::Request(question))
    }
}

impl Transport<RoleServer> for Exchange {
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let is_last = is_last(&message);
        let message = self.addressed(message);
        let (messages, over) = (self.messages.clone(), self.over.clone());
        async move {
            let gone = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            messages.send(message?).await.map_err(gone)?;
            if is_last {
                over.cancel();
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(call) = self.call.take() {
            return Some(call);
        }
        tokio::select! {
            answer = self.answered.recv() => answer,
            () = self.over.cancelled() => None,
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.over.cancel();
        Ok(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut waiting = self.questions.lock();
        for id in &self.asked {
            waiting.remove(id);
        }
    }
}

/// Whether both forms of an answer are accepted; rmcp has the words for who accepts one alone.
fn accepts(head: &Parts) -> bool {
    let accepted =
        head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    ["application/json", "text/event-stream"].iter().all(|form| accepted.contains(form))
}

fn is_last(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
}

/// The messages of a call as events, until its result; whoever drops it cancels the call.
struct Stream {
    first: Option<ServerJsonRpcMessage>,
    messages: mpsc::Receiver<ServerJsonRpcMessage>,
    keep_alive: Interval,
    end: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    _guard: DropGuard,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_over || self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let message = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.messages.poll_recv(context),
        };
        match message {
            Poll::Ready(Some(message)) => {
                self.is_over = is_last(&message);
                self.keep_alive.reset();
                // Messages are made of what JSON can say.
                let text = serde_json::to_string(&message).unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::data(format!("data: {text}\n\n").into()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self
                .keep_alive
                .poll_tick(context)
                .map(|_| Some(Ok(Frame::data(Bytes::from_static(b":\n\n"))))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(origin: &str) -> (Waiting, mpsc::Receiver<ClientJsonRpcMessage>) {
        let (answers, answered) = mpsc::channel(1);
        (Waiting { origin: origin.into(), id: RequestId::Number(3), answers }, answered)
    }

    #[test]
    fn an_answer_finds_its_question_once_and_for_its_client_alone() {
        let questions = Questions::default();
        let me = Identity::anonymous();
        let (of_other, _kept) = waiting("token other");
        let theirs = questions.add(of_other).unwrap();
        let (of_me, mut answered) = waiting(me.origin());
        let mine = questions.add(of_me).unwrap();
        let answer =
            |id: &str| json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept"}}).to_string();
        assert!(!questions.answered(&me, answer(&theirs).as_bytes()), "somebody else's");
        assert!(!questions.answered(&me, answer("0").as_bytes()), "a guess");
        assert!(!questions.answered(&me, br#"{"id": 3, "result": {}}"#), "the id inside the call");
        let both = json!({"id": mine, "result": {}, "error": {"code": 1, "message": ""}}).to_string();
        assert!(!questions.answered(&me, both.as_bytes()), "neither fish nor fowl");
        assert!(questions.answered(&me, answer(&mine).as_bytes()));
        let got = serde_json::to_value(answered.try_recv().unwrap()).unwrap();
        assert_eq!((&got["id"], &got["result"]["action"]), (&json!(3), &json!("accept")));
        assert!(!questions.answered(&me, answer(&mine).as_bytes()), "again");
    }

    #[test]
    fn a_client_waits_for_so_many_answers_and_no_more() {
        let questions = Questions::default();
        for _ in 0..MAX_QUESTIONS {
            assert!(questions.add(waiting("a").0).is_some());
        }
        assert!(questions.add(waiting("a").0).is_none());
        assert!(questions.add(waiting("b").0).is_some(), "another client is not kept from asking");
    }
}
