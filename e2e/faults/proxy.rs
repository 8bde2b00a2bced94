//! The fault proxy: stands between serin and the API server and is bad in the way it is told to be. Two layers: connections (refused,
//! silent) and requests (refused, slow, watches that end or go on without a word). Everything that is asked is written down.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, Full};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use serin::clock::Clock;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::Fallible;

/// How the API server is bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It is not.
    None,
    /// Connections are cut, new ones refused.
    Refused,
    /// Connections that are there say nothing more; new ones are accepted and never answered.
    Silent,
    /// Every request but a watch is answered with this status, and `Retry-After` where there is one.
    Status(u16, Option<u64>),
    /// Every answer to a request but a watch comes so much later; what was asked is done at once.
    Slow(Duration),
    /// Watches are cut in the middle, once.
    CutWatches,
    /// Watches say nothing more and are not cut. Those that begin later are well.
    MuteWatches,
    /// Watches end with 410 Gone, once.
    Gone,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Timestamp,
    pub(crate) method: Method,
    /// Path without query.
    pub(crate) path: String,
    pub(crate) body: Bytes,
    /// What was answered; 0 while nothing was.
    pub(crate) status: u16,
}

impl Asked {
    /// A write, but for those of the Lease, which has a rhythm of its own.
    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET && !self.path.contains("/leases")
    }

    /// Takes all traffic from the canary of the Rollout with this name.
    pub(crate) fn is_shed_of(&self, name: &str) -> bool {
        self.weight_of(name) == Some(0)
    }

    /// Gives the canary of the Rollout with this name more than `percent`.
    pub(crate) fn raises(&self, name: &str, percent: i64) -> bool {
        self.weight_of(name).is_some_and(|weight| weight > percent)
    }

    /// What this sets the canary's weight to. The VirtualService has the Rollout's name, and the canary is its second destination.
    fn weight_of(&self, name: &str) -> Option<i64> {
        let of_service =
            self.method == Method::PATCH && self.path.ends_with(&format!("/virtualservices/{name}"));
        let operations: Vec<Value> = of_service.then(|| serde_json::from_slice(&self.body).ok())??;
        let sets = |one: &&Value| one["op"] == "add" && one["path"] == "/spec/http/0/route/1/weight";
        operations.iter().find(sets)?["value"].as_i64()
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A running proxy. Ends with this value.
pub(crate) struct Proxy {
    /// Where serin finds it.
    pub(crate) address: String,
    log: Log,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Stands before whatever `client` reaches, and is as `fault` says.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(client: Client, fault: watch::Receiver<Fault>) -> Fallible<Self> {
        let log = Log::default();
        let behind = TcpListener::bind("127.0.0.1:0").await?;
        let target = behind.local_addr()?;
        let layer = Requests { client, fault: fault.clone(), log: log.clone() };
        let router = Router::new().fallback(move |request: Request| {
            let layer = layer.clone();
            // A server goes on with what it has begun, and so does this one when the other side has hung up.
            async move { tokio::spawn(layer.answer(request)).await.unwrap_or_else(|_| broken("ended")) }
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(axum::serve(behind, router).await) });
        let front = TcpListener::bind("127.0.0.1:0").await?;
        let address = front.local_addr()?;
        tasks.spawn(connections(front, target, fault));
        Ok(Self { address: format!("http://{address}"), log, _tasks: tasks })
    }

    /// Everything that was asked so far, oldest first.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Accepts while connections are to be had, on one and the same port.
async fn connections(front: TcpListener, target: SocketAddr, mut fault: watch::Receiver<Fault>) {
    let Ok(address) = front.local_addr() else { return };
    let mut listener = Some(front);
    let mut open = JoinSet::new();
    loop {
        if *fault.borrow_and_update() == Fault::Refused {
            listener = None;
            open.shutdown().await;
        } else if listener.is_none() {
            listener = again(address).await;
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            changed = fault.changed() => if changed.is_err() { return },
            Ok((stream, _)) = accept => drop(open.spawn(connection(stream, target, fault.clone()))),
            Some(_) = open.join_next() => {}
        }
    }
}

/// Listens once more where it did. Somebody's own connection may have been given the port meanwhile, for a moment.
async fn again(address: SocketAddr) -> Option<TcpListener> {
    for _ in 0..200 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Some(listener);
        }
        Clock::Wall.sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Carries bytes both ways, but none while nothing is to be heard. What was sent meanwhile arrives afterwards, as on a network.
async fn connection(mut near: TcpStream, target: SocketAddr, mut fault: watch::Receiver<Fault>) {
    let talks = |fault: &Fault| *fault != Fault::Silent;
    if fault.wait_for(talks).await.is_err() {
        return;
    }
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    loop {
        let hushed = async {
            let _ = fault.wait_for(|fault| !talks(fault)).await;
        };
        tokio::select! {
            biased;
            () = hushed => {}
            _ = copy_bidirectional(&mut near, &mut far) => return,
        }
        if fault.wait_for(talks).await.is_err() {
            return;
        }
    }
}

#[derive(Clone)]
struct Requests {
    client: Client,
    fault: watch::Receiver<Fault>,
    log: Log,
}

impl Requests {
    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let number = self.note(Asked {
            at: Clock::Wall.now(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            body: body.clone(),
            status: 0,
        });
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let fault = *self.fault.borrow();
        let response = if let (Fault::Status(code, after), false) = (fault, is_watch) {
            refusal(code, after)
        } else {
            self.forward(parts, body).await
        };
        if let (Fault::Slow(time), false) = (fault, is_watch) {
            Clock::Wall.sleep(time).await;
        }
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asked) = log.get_mut(number) {
            asked.status = response.status().as_u16();
        }
        drop(log);
        if is_watch { bad_watch(response, self.fault) } else { response }
    }

    fn note(&self, asked: Asked) -> usize {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(asked);
        log.len() - 1
    }

    async fn forward(&self, mut parts: http::request::Parts, body: Bytes) -> Response {
        // The client behind has a host and a token of its own.
        for name in [header::HOST, header::AUTHORIZATION, header::CONTENT_LENGTH, header::CONNECTION] {
            parts.headers.remove(name);
        }
        let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        parts.uri = uri.parse().unwrap_or_default();
        let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        match self.client.send(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => broken(&error.to_string()),
        }
    }
}

fn broken(why: &str) -> Response {
    let mut response = Response::new(Body::from(why.to_owned()));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// As the API server itself refuses.
fn refusal(code: u16, after: Option<u64>) -> Response {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Fault", "message": "bad on purpose" });
    let mut response = Response::new(Body::new(Full::from(status.to_string())));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A watch that is cut, falls silent or ends with 410 as the fault says; a fault that comes later, too.
fn bad_watch(response: Response, fault: watch::Receiver<Fault>) -> Response {
    let (parts, body) = response.into_parts();
    let began_with = *fault.borrow();
    let state = (BodyStream::new(body), fault, began_with, false);
    let lines = stream::unfold(state, |(mut body, mut fault, began_with, over)| async move {
        if over {
            return None;
        }
        loop {
            // "Once": a watch that begins under the fault is well.
            let strikes = |now: &Fault| {
                matches!(now, Fault::CutWatches | Fault::Gone | Fault::MuteWatches) && *now != began_with
            };
            let struck = async { fault.wait_for(strikes).await.map(|fault| *fault) };
            let line: Result<Bytes, &'static str> = tokio::select! {
                biased;
                Ok(now) = struck => struck_by(now, &mut fault).await,
                frame = body.next() => match frame {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => return Some((Ok(data), (body, fault, began_with, false))),
                        Err(_) => continue,
                    },
                    Some(Err(_)) => Err("broken"),
                    None => return None,
                },
            };
            return Some((line, (body, fault, began_with, true)));
        }
    });
    Response::from_parts(parts, Body::from_stream(lines))
}

/// The last that is heard of a watch.
async fn struck_by(now: Fault, fault: &mut watch::Receiver<Fault>) -> Result<Bytes, &'static str> {
    if now == Fault::MuteWatches {
        let _ = fault.wait_for(|fault| *fault != Fault::MuteWatches).await;
        // What was said meanwhile is lost with the connection.
        return Err("lost");
    }
    if now == Fault::CutWatches {
        return Err("cut");
    }
    let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version" });
    Ok(Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": status }))))
}
