//! What to do about one message to one channel, from what was noted before. No I/O. No clock.

use crate::api::serin::{Delivery, LedgerEntry};

/// Most entries that one record keeps (the CRD's bound).
pub(super) const CAPACITY: usize = 50;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Note it and send it.
    Post,
    /// A process died, or an answer was lost, between noting and sending: look for it in the channel first.
    Search,
    /// It is there, and says something else by now.
    Update { channel: String, ts: String },
    /// It is there and right, or it was given up.
    Nothing,
}

/// The decision for a message whose text hashes to `digest`.
pub(super) fn next(entry: Option<&LedgerEntry>, digest: &str) -> Next {
    let Some(entry) = entry else { return Next::Post };
    match entry.state {
        // A reason is noted only when the attempt certainly failed.
        Delivery::Sending if entry.reason.is_empty() => Next::Search,
        Delivery::Sending => Next::Post,
        Delivery::Sent | Delivery::Final => {
            let is_known = !entry.channel.is_empty() && !entry.ts.is_empty();
            if is_known && entry.digest != digest {
                Next::Update { channel: entry.channel.clone(), ts: entry.ts.clone() }
            } else {
                Next::Nothing
            }
        }
        Delivery::Refused => Next::Nothing,
    }
}

/// The entry of `key` for `recipient`.
pub(super) fn find<'a>(ledger: &'a [LedgerEntry], key: &str, recipient: &str) -> Option<&'a LedgerEntry> {
    ledger.iter().find(|entry| entry.key == key && entry.recipient == recipient)
}

/// The ledger with `entry` in it, newest first, in place of the one of the same key and recipient. The oldest
/// finished ones make room.
pub(super) fn with(ledger: &[LedgerEntry], entry: LedgerEntry) -> Vec<LedgerEntry> {
    let others = ledger.iter().filter(|old| old.key != entry.key || old.recipient != entry.recipient);
    let mut all: Vec<LedgerEntry> = std::iter::once(entry.clone()).chain(others.cloned()).collect();
    while all.len() > CAPACITY {
        let finished = all.iter().rposition(|old| old.state != Delivery::Sending);
        all.remove(finished.filter(|at| *at > 0).unwrap_or(all.len() - 1));
    }
    all
}

/// The id of the channel that `recipient` names, where an earlier answer told it.
pub(super) fn channel_of<'a>(
    ledger: impl IntoIterator<Item = &'a LedgerEntry>,
    recipient: &str,
) -> Option<String> {
    ledger
        .into_iter()
        .find(|entry| entry.recipient == recipient && !entry.channel.is_empty())
        .map(|entry| entry.channel.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(state: Delivery) -> LedgerEntry {
        LedgerEntry {
            key: "k".into(),
            recipient: "#deploys".into(),
            channel: String::new(),
            ts: String::new(),
            state,
            digest: "old".into(),
            attempts: 1,
            reason: String::new(),
            at: None,
        }
    }

    #[test]
    fn a_doubt_is_searched_and_a_certain_failure_is_posted_again() {
        assert_eq!(next(None, "d"), Next::Post);
        assert_eq!(next(Some(&entry(Delivery::Sending)), "d"), Next::Search);
        let failed = LedgerEntry { reason: "channel_not_found".into(), ..entry(Delivery::Sending) };
        assert_eq!(next(Some(&failed), "d"), Next::Post);
        assert_eq!(next(Some(&entry(Delivery::Refused)), "d"), Next::Nothing);
    }

    #[test]
    fn what_was_sent_is_edited_only_when_its_text_changed() {
        for state in [Delivery::Sent, Delivery::Final] {
            let sent = LedgerEntry { channel: "C1".into(), ts: "1.2".into(), ..entry(state) };
            assert_eq!(next(Some(&sent), "old"), Next::Nothing);
            assert_eq!(next(Some(&sent), "new"), Next::Update { channel: "C1".into(), ts: "1.2".into() });
            let unknown = LedgerEntry { ts: String::new(), ..sent };
            assert_eq!(
                next(Some(&unknown), "new"),
                Next::Nothing,
                "a message whose id is not known cannot be edited"
            );
        }
    }

    #[test]
    fn a_full_ledger_forgets_finished_messages_and_keeps_doubts() {
        let mut ledger = vec![];
        for n in 0..CAPACITY {
            let state = if n == 0 { Delivery::Sending } else { Delivery::Final };
            ledger = with(&ledger, LedgerEntry { key: n.to_string(), ..entry(state) });
        }
        ledger = with(&ledger, LedgerEntry { key: "new".into(), ..entry(Delivery::Sending) });
        assert_eq!(ledger.len(), CAPACITY);
        assert_eq!(ledger[0].key, "new");
        assert!(find(&ledger, "0", "#deploys").is_some(), "the doubt stays");
        assert!(find(&ledger, "1", "#deploys").is_none(), "the oldest finished one made room");
        let changed =
            with(&ledger, LedgerEntry { key: "new".into(), channel: "C9".into(), ..entry(Delivery::Sent) });
        assert_eq!(changed.len(), CAPACITY);
        assert_eq!(channel_of(&changed, "#deploys").as_deref(), Some("C9"));
    }
}
