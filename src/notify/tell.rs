//! Tells one story to one channel: ledger first, then Slack, then the ledger again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::json;

use super::{
    ledger::{self, Next},
    outlet::Outlet,
    slack::{Failure, Found, Place},
    stores::Key,
    story::Story,
    words::clip,
};
use crate::{
    api::serin::{ControllerRecord, Delivery, LedgerEntry, NotifyRecord},
    clock::Clock,
};

/// Owner of `status.notify`.
const FIELD_MANAGER: &str = "serin-notify";
/// As every request to the API server.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How often a conflict is answered by reading again before the lane's back-off takes over.
const ROUNDS: usize = 8;
/// First pause after a failure; doubled with each.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause: a repaired token or channel is noticed within minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why a story is not told yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum TellError {
    #[error("the API server did not answer in time")]
    TimedOut,
    #[error("there is no RolloutRecord yet to note messages in")]
    NoRecord,
    #[error("could not {what} the RolloutRecord")]
    Record {
        what: &'static str,
        #[source]
        source: Box<kube::Error>,
    },
    /// Written by a newer version of serin, perhaps. Sending without it could repeat everything.
    #[error("`status.notify` of the RolloutRecord cannot be read: {why}")]
    Unreadable { why: String },
    #[error("the RolloutRecord kept changing")]
    Conflicts,
    #[error(transparent)]
    Slack(#[from] Failure),
    /// Too early: a back-off noted before, here or by an earlier process, has not passed.
    #[error("waiting until {until}")]
    NotYet { until: Timestamp },
}

/// How long to wait after `failures` in a row.
pub(super) fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// What one process remembers between attempts.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// Messages that Slack confirmed and the ledger does not know yet.
    sent: BTreeMap<(String, String), Place>,
    /// Until when Slack asked to be left alone: the app, under the empty name, or a webhook.
    quiet_until: BTreeMap<String, Timestamp>,
}

impl Memory {
    fn locked(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Everything that telling takes.
pub(super) struct Teller {
    pub client: Client,
    pub clock: Clock,
    pub memory: Memory,
    pub key: Key,
    /// Ids of channels, as other ledgers know them.
    pub channels: BTreeMap<String, String>,
}

/// One story to one recipient.
pub(super) struct Errand<'a> {
    pub story: &'a Story,
    /// As the ledger names it.
    pub recipient: String,
    pub outlet: Outlet<'a>,
}

impl Errand<'_> {
    /// Whose wish to be left alone counts.
    fn whose(&self) -> &str {
        if self.outlet.can_edit() { "" } else { &self.recipient }
    }
}

/// The record as it was read, with its ledger.
pub(super) struct Note {
    version: String,
    pub(super) ledger: Vec<LedgerEntry>,
    /// The controller's part; absent when there is none that can be read.
    pub(super) controller: Option<ControllerRecord>,
}

impl Teller {
    /// Brings what the recipient sees in line with the story. True when Slack was asked for something.
    ///
    /// # Errors
    /// When that has to be tried again.
    pub(super) async fn tell(&self, errand: &Errand<'_>) -> Result<bool, TellError> {
        let mut asked = false;
        for _ in 0..ROUNDS {
            let note = self.read().await?;
            let entry = ledger::find(&note.ledger, &errand.story.key, &errand.recipient);
            match ledger::next(entry, &errand.story.message.digest()) {
                Next::Nothing => return Ok(asked),
                Next::Post => {
                    self.check_pause(errand, entry)?;
                    asked = true;
                    self.note_and_post(note, errand, false).await?;
                }
                Next::Search => {
                    asked = true;
                    self.resolve(note, errand).await?;
                }
                Next::Update { channel, ts } => {
                    self.check_pause(errand, None)?;
                    asked = true;
                    self.update(note, errand, Place { channel, ts }).await?;
                }
            }
        }
        Err(TellError::Conflicts)
    }

    /// An entry is written ahead, so that a crash leaves a doubt and never a silence.
    async fn note_and_post(
        &self,
        note: Note,
        errand: &Errand<'_>,
        is_possible_repeat: bool,
    ) -> Result<(), TellError> {
        let entry = self.entry(&note, errand, Delivery::Sending);
        let entry =
            LedgerEntry { attempts: entry.attempts.saturating_add(1), reason: String::new(), ..entry };
        let Some(note) = self.write(note, entry.clone()).await? else { return Ok(()) };
        let message = errand.story.message.clone();
        let message = if is_possible_repeat { message.marked_as_possible_repeat() } else { message };
        match errand.outlet.post(&errand.story.key, &message).await {
            Ok(place) => {
                self.remember(errand, &place);
                self.confirm(note, errand, place, errand.story.message.digest()).await
            }
            Err(failure) if failure.is_doubtful() => Err(failure.into()),
            Err(failure) => {
                self.heed(errand, &failure);
                let reason = clip(&failure.to_string(), 200);
                let _ = self.write(note, LedgerEntry { reason, ..entry }).await?;
                Err(failure.into())
            }
        }
    }

    /// It may or may not be there: asks this process's memory, then the channel's history.
    async fn resolve(&self, note: Note, errand: &Errand<'_>) -> Result<(), TellError> {
        let Errand { story, recipient, outlet } = errand;
        let known = self.memory.locked().sent.get(&(story.key.clone(), recipient.clone())).cloned();
        if let Some(place) = known {
            return self.confirm(note, errand, place, story.message.digest()).await;
        }
        self.check_pause(errand, None)?;
        let channel =
            ledger::channel_of(&note.ledger, recipient).or_else(|| self.channels.get(recipient).cloned());
        let found = outlet.search(channel.as_deref(), &story.key).await;
        match found.inspect_err(|failure| self.heed(errand, failure))? {
            Found::There { place, text } => {
                // Slack may have the text of an earlier moment; an unknown digest has it edited.
                let digest = if text == story.message.text { story.message.digest() } else { String::new() };
                self.confirm(note, errand, place, digest).await
            }
            Found::Absent => self.note_and_post(note, errand, false).await,
            Found::Unknowable => self.note_and_post(note, errand, true).await,
        }
    }

    async fn update(&self, note: Note, errand: &Errand<'_>, place: Place) -> Result<(), TellError> {
        let Errand { story, recipient, outlet } = errand;
        let gone = [
            "message_not_found",
            "cant_update_message",
            "edit_window_closed",
            "channel_not_found",
            "is_inactive",
        ];
        match outlet.update(&place, &story.message).await {
            Ok(()) => self.confirm(note, errand, place, story.message.digest()).await,
            // A person deleted it, or the workspace forbids the edit: it stays as it is.
            Err(failure) if gone.iter().any(|word| failure.is(word)) => {
                tracing::warn!(
                    rollout.namespace = %self.key.0, rollout.name = %self.key.1, slack.recipient = %recipient,
                    "Could not edit the message of `{}/{}`: {failure}", self.key.0, self.key.1
                );
                let entry = self.entry(&note, errand, Delivery::Final);
                let reason = clip(&failure.to_string(), 200);
                self.write(note, LedgerEntry { digest: story.message.digest(), reason, ..entry })
                    .await
                    .map(|_| ())
            }
            Err(failure) => {
                self.heed(errand, &failure);
                Err(failure.into())
            }
        }
    }

    async fn confirm(
        &self,
        note: Note,
        errand: &Errand<'_>,
        place: Place,
        digest: String,
    ) -> Result<(), TellError> {
        let is_over = errand.story.is_final || !errand.outlet.can_edit();
        let entry = self.entry(&note, errand, if is_over { Delivery::Final } else { Delivery::Sent });
        let Place { channel, ts } = place;
        let entry = LedgerEntry { channel, ts, digest, reason: String::new(), ..entry };
        if self.write(note, entry).await?.is_some() {
            self.memory.locked().sent.remove(&(errand.story.key.clone(), errand.recipient.clone()));
        }
        Ok(())
    }

    fn remember(&self, errand: &Errand<'_>, place: &Place) {
        let identity = (errand.story.key.clone(), errand.recipient.clone());
        self.memory.locked().sent.insert(identity, place.clone());
    }

    /// The entry as it stands, or a fresh one, in `state` and of this moment.
    fn entry(&self, note: &Note, errand: &Errand<'_>, state: Delivery) -> LedgerEntry {
        let fresh = || LedgerEntry {
            key: errand.story.key.clone(),
            recipient: errand.recipient.clone(),
            channel: String::new(),
            ts: String::new(),
            state,
            digest: String::new(),
            attempts: 0,
            reason: String::new(),
            at: None,
        };
        let known = ledger::find(&note.ledger, &errand.story.key, &errand.recipient).cloned();
        let now = self.clock.now();
        let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
        LedgerEntry { state, at: Some(Time(whole)), ..known.unwrap_or_else(fresh) }
    }

    /// Slack's wish to be left alone, and the back-off of an entry that failed before, outlive a restart.
    fn check_pause(&self, errand: &Errand<'_>, entry: Option<&LedgerEntry>) -> Result<(), TellError> {
        let failed = entry.and_then(|entry| {
            let pause = pause_after(u32::try_from(entry.attempts).unwrap_or(1));
            let at = entry.at.as_ref()?.0;
            // A clock that was set back must not make this wait for ever.
            at.checked_add(pause).ok().filter(|_| at <= self.clock.now())
        });
        let until = failed.max(self.memory.locked().quiet_until.get(errand.whose()).copied());
        match until {
            Some(until) if until > self.clock.now() => Err(TellError::NotYet { until }),
            _ => Ok(()),
        }
    }

    fn heed(&self, errand: &Errand<'_>, failure: &Failure) {
        if let Failure::RateLimited { after } = failure {
            let after = SignedDuration::try_from(*after).unwrap_or(SignedDuration::from_secs(30));
            let until = self.clock.now().saturating_add(after).unwrap_or(Timestamp::MAX);
            let mut memory = self.memory.locked();
            let quiet = memory.quiet_until.entry(errand.whose().to_owned()).or_insert(until);
            *quiet = until.max(*quiet);
        }
    }

    fn records(&self) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            &self.key.0,
            &super::lane::resource(super::stores::Kind::RolloutRecord),
        )
    }

    pub(super) async fn read(&self) -> Result<Note, TellError> {
        let records = self.records();
        let found = self.clock.timeout(REQUEST_LIMIT, records.get_opt(&self.key.1)).await;
        let found = found.ok_or(TellError::TimedOut)?;
        let object = found.map_err(|error| TellError::Record { what: "read", source: Box::new(error) })?;
        note(&object.ok_or(TellError::NoRecord)?)
    }

    /// Writes `entry`; `None` when somebody else wrote first and all is to be looked at anew.
    async fn write(&self, note: Note, entry: LedgerEntry) -> Result<Option<Note>, TellError> {
        let patch = json!({
            "metadata": {"resourceVersion": note.version},
            "status": {"notify": {"ledger": ledger::with(&note.ledger, entry)}},
        });
        let records = self.records();
        let (options, patch) = (PatchParams::apply(FIELD_MANAGER), Patch::Merge(patch));
        let written =
            self.clock.timeout(REQUEST_LIMIT, records.patch_status(&self.key.1, &options, &patch)).await;
        match written.ok_or(TellError::TimedOut)? {
            Ok(object) => self::note(&object).map(Some),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(TellError::Record { what: "write", source: Box::new(error) }),
        }
    }
}

fn note(object: &DynamicObject) -> Result<Note, TellError> {
    let status = |part: &str| object.data.get("status").and_then(|status| status.get(part)).cloned();
    let notify: NotifyRecord = serde_json::from_value(status("notify").unwrap_or_else(|| json!({})))
        .map_err(|error| TellError::Unreadable { why: clip(&error.to_string(), 200) })?;
    Ok(Note {
        version: object.metadata.resource_version.clone().unwrap_or_default(),
        ledger: notify.ledger,
        controller: status("controller").and_then(|value| serde_json::from_value(value).ok()),
    })
}
