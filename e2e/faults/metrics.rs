//! A Prometheus that answers what it is told to, and knows to the microsecond when it had answered.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use serin::clock::Clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::Fallible;

/// A share of errors that fails every analysis here.
const BAD: f64 = 0.5;

/// What is answered about a Rollout.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// No errors.
    Good,
    /// Nothing, for the time being.
    Held,
    /// One bad answer, then good ones.
    BadOnce,
    Bad,
}

#[derive(Default)]
struct Told {
    /// Good where nothing was told.
    moods: BTreeMap<String, Mood>,
    /// Queries that wait for their answer, by Rollout.
    asked: BTreeMap<String, u32>,
    /// When the last byte of the first bad answer about which Rollout was written.
    failed: BTreeMap<String, Timestamp>,
}

/// A running responder. Ends with this value.
pub(crate) struct Metrics {
    pub(crate) address: String,
    told: watch::Sender<Told>,
    _tasks: JoinSet<()>,
}

impl Metrics {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start() -> Fallible<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (told, _) = watch::channel(Told::default());
        let shared = told.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let told = shared.clone();
                open.spawn(async move { drop(talk(stream, &told).await) });
            }
        });
        Ok(Self { address, told, _tasks: tasks })
    }

    /// Waits until the next query about each of these has come. They are answered when one of the others here is called.
    ///
    /// # Errors
    /// After `limit`.
    pub(crate) async fn hold(&self, names: &[String], limit: Duration) -> Fallible {
        self.told.send_modify(|told| told.moods.extend(names.iter().map(|name| (name.clone(), Mood::Held))));
        let mut told = self.told.subscribe();
        let all = told
            .wait_for(|told| names.iter().all(|name| told.asked.get(name).is_some_and(|count| *count > 0)));
        Clock::Wall.timeout(limit, all).await.ok_or("a metric was not asked for")??;
        Ok(())
    }

    /// The next answer about each of these is bad, and all after it are good.
    pub(crate) fn fail_once(&self, names: &[String]) {
        self.told
            .send_modify(|told| told.moods.extend(names.iter().map(|name| (name.clone(), Mood::BadOnce))));
    }

    /// From now on the canaries of these Rollouts fail.
    pub(crate) fn fail(&self, names: &[String]) {
        self.told.send_modify(|told| told.moods.extend(names.iter().map(|name| (name.clone(), Mood::Bad))));
    }

    /// From now on the canaries of these Rollouts are well.
    pub(crate) fn pass(&self, names: &[String]) {
        self.told.send_modify(|told| told.moods.extend(names.iter().map(|name| (name.clone(), Mood::Good))));
    }

    /// When the last byte of the first bad answer about this Rollout was written.
    pub(crate) fn failed_at(&self, name: &str) -> Option<Timestamp> {
        self.told.borrow().failed.get(name).copied()
    }
}

/// Answers one connection's requests: `/NAME/api/v1/query` is about the Rollout NAME.
async fn talk(mut stream: TcpStream, told: &watch::Sender<Told>) -> Fallible {
    let mut buffer = vec![];
    loop {
        let (head, length) = loop {
            if let Some(found) = request(&buffer) {
                break found;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head + length]).into_owned();
        buffer.drain(..head + length);
        let name = text.split('/').nth(1).unwrap_or_default();
        let mood = answer(told, name).await?;
        let is_bad = matches!(mood, Mood::Bad | Mood::BadOnce);
        let value = if is_bad { BAD } else { 0.0 };
        let now = Clock::Wall.now().as_second();
        let body = json!({ "status": "success", "data": { "resultType": "vector", "result": [{ "metric": {}, "value": [now, value.to_string()] }] } }).to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        let written = Clock::Wall.now();
        if is_bad {
            told.send_modify(|told| {
                told.failed.entry(name.to_owned()).or_insert(written);
            });
        }
    }
}

/// Bytes of the head and of the body of a whole request; `None` where it is not whole yet.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    (bytes.len() >= head + length).then_some((head, length))
}

/// What to answer, once there is to be an answer.
async fn answer(told: &watch::Sender<Told>, name: &str) -> Fallible<Mood> {
    let mood = |told: &Told| told.moods.get(name).copied().unwrap_or(Mood::Good);
    told.send_modify(|told| *told.asked.entry(name.to_owned()).or_default() += 1);
    told.subscribe().wait_for(|told| mood(told) != Mood::Held).await?;
    let mut decided = Mood::Good;
    told.send_modify(|told| {
        *told.asked.entry(name.to_owned()).or_default() -= 1;
        decided = mood(told);
        if decided == Mood::BadOnce {
            told.moods.insert(name.to_owned(), Mood::Good);
        }
    });
    Ok(decided)
}
