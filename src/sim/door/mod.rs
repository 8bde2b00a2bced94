//! Door 2: the world behind `kube::Client`, and behind a socket for `kubectl`.
//!
//! A request is answered under the lock, at the clock's time. A watch is a body that grows: it waits for a
//! change or for its own deadline, never with the lock held.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    store::{Answer, Event, EventKind, Events, Watch, in_version},
    wire::{self, View},
    world::World,
};
use crate::{api::http::Request, clock::Clock};

/// A body of the world's answers.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The world with a clock, shared by everybody who talks to it.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    clock: Clock,
    /// Bumped whenever a watch may have something to say.
    changed: watch::Sender<u64>,
    /// The number of crashes so far.
    crashes: watch::Sender<usize>,
}

/// Seconds a watch lasts whose client named no limit; the real server takes 30 to 60 minutes.
const WATCH_LASTS: Duration = Duration::from_secs(1800);

/// The real server's limit on a request body.
const BODY_MAX_BYTES: usize = 3 * 1024 * 1024;

/// A watch that wants bookmarks gets one this often.
const BOOKMARK_EVERY: SignedDuration = SignedDuration::from_secs(60);

impl Door {
    /// Opens a door to the world.
    pub fn new(world: World, clock: Clock) -> Self {
        let shared = Shared {
            world: Mutex::new(world),
            clock,
            changed: watch::Sender::new(0),
            crashes: watch::Sender::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The clock the world runs on.
    pub fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// Looks at the world, or changes it, at the clock's time.
    pub fn with<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let mut world = self.lock();
        let before = (world.store().version(), world.watch_epoch(), world.crashes().len());
        world.advance(self.shared.clock.now());
        let outcome = act(&mut world);
        let after = (world.store().version(), world.watch_epoch(), world.crashes().len());
        drop(world);
        if after.2 != before.2 {
            self.shared.crashes.send_replace(after.2);
        }
        if after != before {
            self.shared.changed.send_modify(|count| *count += 1);
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A panic of a client's closure leaves the objects whole.
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request.
    pub fn request(&self, request: &Request, actor: &str) -> Answer {
        self.with(|world| world.handle(request, actor))
    }

    /// Told of every write, dropped watch and crash.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Told the number of crashes so far, at each.
    pub fn crashes(&self) -> watch::Receiver<usize> {
        self.shared.crashes.subscribe()
    }

    /// A client whose requests reach the world as `actor`'s. Has to be called inside a tokio runtime.
    pub fn client(&self, actor: &'static str) -> kube::Client {
        let door = self.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let door = door.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.map_err(io::Error::other)?;
                door.http(&parts, &body, actor)
            }
        });
        kube::Client::new(service, "default")
    }

    /// Answers an HTTP request. An error is a connection that broke.
    pub(super) fn http(
        &self,
        parts: &http::request::Parts,
        body: &[u8],
        actor: &str,
    ) -> io::Result<http::Response<Body>> {
        let request = match wire::request(parts, body) {
            Ok(request) => request,
            Err(refusal) => return Ok(json_response(refusal.status, &refusal.body)),
        };
        let view = wire::view(parts, &request);
        match self.request(&request, actor) {
            Answer::Response(response) if response.is_success() => {
                let body = view.of(response.body, self.lock().now());
                Ok(response_of(response.status, &body, view.content_type()))
            }
            Answer::Response(response) => Ok(json_response(response.status, &response.body)),
            Answer::Watch(watch) => Ok(self.watch(watch, view, actor)),
            Answer::Crash => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
        }
    }

    /// Serves the world on a socket until `shutdown`, for instance to `kubectl --server http://<address>`. Plain
    /// HTTP without authentication: for loopback only. The actor is the client's user agent up to the slash.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let door = self;
        let answer = move |request: axum::extract::Request| {
            let door = door.clone();
            async move {
                let (parts, body) = request.into_parts();
                let agent = parts.headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
                let actor = agent.and_then(|agent| agent.split('/').next()).unwrap_or("http").to_owned();
                let Ok(body) = axum::body::to_bytes(body, BODY_MAX_BYTES).await else {
                    return json_response(413, &json!("request entity too large\n"))
                        .map(axum::body::Body::new);
                };
                match door.http(&parts, &body, &actor) {
                    Ok(response) => response.map(axum::body::Body::new),
                    Err(error) => json_response(502, &json!(format!("{error}\n"))).map(axum::body::Body::new),
                }
            }
        };
        let router = axum::Router::new().fallback(answer);
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
    }

    /// Lets the actors run when they are due, until `shutdown`.
    pub async fn drive(self, shutdown: CancellationToken) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let due = self.with(|world| world.next_due());
            let clock = self.shared.clock;
            let wait = async {
                match due {
                    Some(due) => clock.sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = changes.changed() => {}
                () = wait => {}
            }
        }
    }

    fn watch(&self, watch: Watch, view: View, actor: &str) -> http::Response<Body> {
        let (now, epoch, at, initial) = {
            let world = self.lock();
            let (at, initial) = if watch.initial {
                (world.store().version(), world.store().initial_events(&watch))
            } else {
                (watch.from, vec![])
            };
            (world.now(), world.watch_epoch(), at, initial)
        };
        let lasts = SignedDuration::try_from(watch.timeout.unwrap_or(WATCH_LASTS));
        let lasts = lasts.unwrap_or(SignedDuration::from_hours(1));
        let state = Stream {
            door: self.clone(),
            changes: self.changes(),
            actor: actor.to_owned(),
            at,
            ends: now.saturating_add(lasts).unwrap_or(Timestamp::MAX),
            bookmark: now.saturating_add(BOOKMARK_EVERY).unwrap_or(Timestamp::MAX),
            over: false,
            epoch,
            initial,
            watch,
            view,
        };
        let frames = stream::unfold(state, |mut state| async {
            let chunk = state.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(chunk)), state))
        });
        let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
        response
    }
}

/// An open watch.
struct Stream {
    door: Door,
    changes: watch::Receiver<u64>,
    actor: String,
    watch: Watch,
    view: View,
    at: u64,
    ends: Timestamp,
    bookmark: Timestamp,
    over: bool,
    epoch: u64,
    initial: Vec<Event>,
}

impl Stream {
    /// The next lines, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.initial.is_empty() {
            let events = std::mem::take(&mut self.initial);
            return Some(self.lines(&events));
        }
        loop {
            if self.over {
                return None;
            }
            self.changes.borrow_and_update();
            let told = {
                let world = self.door.lock();
                if world.watch_epoch() != self.epoch || world.is_down(&self.actor) {
                    return None;
                }
                world.events_since(&self.watch, self.at)
            };
            match told {
                Events::Gone { oldest } => {
                    self.over = true;
                    return Some(line(EventKind::Error, &gone(self.at, oldest)));
                }
                Events::Some { events, upto } => {
                    self.at = upto;
                    if !events.is_empty() {
                        return Some(self.lines(&events));
                    }
                }
            }
            let clock = self.door.clock();
            let now = clock.now();
            if now >= self.ends {
                self.over = true;
                return self.watch.bookmarks.then(|| self.bookmark_line());
            }
            if self.watch.bookmarks && now >= self.bookmark {
                self.bookmark = now.saturating_add(BOOKMARK_EVERY).unwrap_or(Timestamp::MAX);
                return Some(self.bookmark_line());
            }
            let until = if self.watch.bookmarks { self.ends.min(self.bookmark) } else { self.ends };
            tokio::select! {
                _ = self.changes.changed() => {}
                () = clock.sleep_until(until) => {}
            }
        }
    }

    fn lines(&self, events: &[Event]) -> Bytes {
        let (definition, now) = (self.watch.resource.definition(), self.door.clock().now());
        let mut text = vec![];
        for event in events {
            let object = in_version(&event.object, definition, self.watch.version);
            text.extend_from_slice(&line(event.kind, &self.view.of(object, now)));
        }
        text.into()
    }

    fn bookmark_line(&self) -> Bytes {
        let definition = self.watch.resource.definition();
        let object = json!({
            "kind": definition.kind, "apiVersion": definition.api_version(self.watch.version),
            "metadata": {"resourceVersion": self.at.to_string()},
        });
        line(EventKind::Bookmark, &object)
    }
}

fn gone(wanted: u64, oldest: u64) -> Value {
    super::store::too_old(wanted, oldest).body
}

fn line(kind: EventKind, object: &Value) -> Bytes {
    let mut text = json!({"type": kind.name(), "object": object}).to_string();
    text.push('\n');
    text.into()
}

fn json_response(status: u16, body: &Value) -> http::Response<Body> {
    response_of(status, body, "application/json")
}

fn response_of(status: u16, body: &Value, kind: &'static str) -> http::Response<Body> {
    let (kind, text) = match body {
        Value::String(text) => ("text/plain; charset=utf-8", text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            (kind, body.to_string())
        }
    };
    let mut response = http::Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests;
