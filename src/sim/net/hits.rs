//! Which events had an effect: a hand that changed an object, a fault that a request met, a watch that kept something
//! back, a query that was answered in a mood.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::{Value, json};

use super::{
    super::{
        fault::{Effect, Point},
        store::{Resource, at, text},
    },
    script::{Event, Mood, Pods, plural},
    stage::Stage,
};

/// Events whose effect is still to come.
#[derive(Default)]
pub(super) struct Waits {
    /// Faults that were met and are counted.
    met: usize,
    silent: BTreeSet<Resource>,
    mood: Option<Mood>,
    /// Moods in which a query was answered, a bit each.
    pub(super) answered: Arc<AtomicU32>,
    /// An image, and how its pods behave.
    pods: Option<(String, Pods)>,
}

impl Stage {
    /// Books an event that has happened: at once where it had its effect, else when it has.
    pub(super) fn hit(&mut self, event: &Event, has_written: bool) {
        match event {
            Event::Refuse { .. } | Event::Lose { .. } | Event::Crash { .. } => {}
            Event::Silence(kind, _) => {
                self.waits.silent.insert(*kind);
            }
            Event::Metrics(mood) => {
                self.waits.mood = (*mood != Mood::Good).then_some(*mood);
                self.waits.answered.store(0, Ordering::SeqCst);
            }
            Event::Pods(version, pods) => {
                let image = super::shop::image(version);
                self.waits.pods = (*pods != Pods::Good).then_some((image, *pods));
            }
            Event::Clock(_) => self.counts(&event.kind(), ""),
            _ if has_written => self.counts(&event.kind(), &event.about()),
            _ => {}
        }
    }

    /// Books what has had its effect since the last look.
    pub(super) fn hits(&mut self) {
        let met: Vec<(Point, Effect)> = self.world.met().get(self.waits.met..).unwrap_or_default().to_vec();
        self.waits.met += met.len();
        for (point, effect) in met {
            let kind = match effect {
                Effect::Refuse(code) => format!("refuse {code}"),
                Effect::LoseAnswer => "lose".to_owned(),
                Effect::CrashBefore => "crash before".to_owned(),
                Effect::CrashAfter => "crash after".to_owned(),
                Effect::DropWatches | Effect::Compact => continue,
            };
            self.counts(&kind, &point.resource);
        }
        for kind in self.controller.take_kept_back() {
            if self.waits.silent.remove(&kind) {
                self.counts("silence", plural(kind));
            }
        }
        let answered = self.waits.answered.load(Ordering::SeqCst);
        if let Some(mood) = self.waits.mood.filter(|mood| answered & mood.bit() > 0) {
            self.waits.mood = None;
            self.counts(&Event::Metrics(mood).kind(), "");
        }
        self.bad_pods();
    }

    fn bad_pods(&mut self) {
        let Some((image, pods)) = &self.waits.pods else { return };
        let is_bad = |pod: &Value| {
            let container = |part: &str| at(pod, &format!("/status/containerStatuses/0/{part}"));
            match pods {
                Pods::Never => {
                    container("state/running").is_some() && container("ready") == Some(&json!(false))
                }
                Pods::Crashing => container("restartCount").and_then(Value::as_i64) > Some(0),
                Pods::Good => false,
            }
        };
        let of_image = |pod: &Value| text(pod, "/spec/containers/0/image") == image;
        let is_there =
            self.world.store().objects(Resource::Pods).any(|(_, pod)| of_image(pod) && is_bad(pod));
        if is_there {
            let kind = format!("pods {pods}");
            self.waits.pods = None;
            self.counts(&kind, "");
        }
    }

    fn counts(&mut self, kind: &str, about: &str) {
        let phase = self.phase();
        self.cover.happened(kind, about, &phase);
    }
}
