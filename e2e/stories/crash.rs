//! Crash before k, for every k: a story is played once to see what serin does, then once more for each thing that it
//! did and each side of it, with the process that does it dead at that moment and back ten seconds later.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    io::Write as _,
    sync::Mutex,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use serin::sim::{
    fault::Point,
    play::{scenario::Scenario, timeline::Entry},
    world::Logged,
};

use crate::{
    ending::ending,
    play::{Doing, Moment, Play, Seen},
};

/// The roles of serin, as the world knows them; the last two are the replicas of the story with two.
const ROLES: [&str; 5] = ["controller", "gitops", "notify", "controller-1", "controller-2"];

/// How much later the traffic of a bad version may be gone when the controller dies: ten seconds until it is back, and one
/// more measurement where a sample died with it.
const GONE_LATER_AT_MOST: SignedDuration = SignedDuration::from_secs(11);
/// How much later a good version may be through, or another step be reached: a controller that is back waits for the
/// data-plane delay anew.
const THROUGH_LATER_AT_MOST: SignedDuration = SignedDuration::from_secs(21);
/// While Prometheus is away it is asked so often; a restart in between shifts that.
const ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// The same where another replica has to find the Lease expired first.
const TAKEN_OVER_AT_MOST: SignedDuration = SignedDuration::from_secs(30);

/// Of so many renewals of a Lease one is tried.
const RENEWALS: u32 = 10;

/// Before and after: after is another world only where somebody could have seen the effect.
const BOTH: [Moment; 2] = [Moment::Before, Moment::After];

#[test]
fn a_crash_at_any_effect_of_the_bad_story_changes_nothing_about_its_ending() {
    let named = [
        ("between shed and booking", "controller patch analysisruns", Moment::Before),
        ("between push and its status", "push", Moment::After),
        ("between Slack's post and its ledger", "chat.postMessage", Moment::After),
    ];
    everywhere(Scenario::BadMetric, &BOTH, &named);
}

#[test]
fn a_crash_at_any_effect_of_the_good_story_changes_nothing_about_its_ending() {
    everywhere(Scenario::Good, &BOTH, &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_of_a_fix_that_came_first() {
    everywhere(Scenario::FixedFirst, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_of_contested_weights() {
    everywhere(Scenario::Contested, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_of_pods_that_crash() {
    everywhere(Scenario::BadPods, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_without_data() {
    everywhere(Scenario::NoData, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_without_prometheus() {
    everywhere(Scenario::PrometheusDown, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_by_a_person() {
    everywhere(Scenario::UserAbort, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_without_git() {
    everywhere(Scenario::GitDown, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_of_a_superseded_version() {
    everywhere(Scenario::Superseded, &[Moment::Before], &[]);
}

#[test]
fn a_crash_before_any_effect_changes_no_ending_of_a_takeover() {
    everywhere(Scenario::TakeoverByRestart, &[Moment::Before], &[]);
}

/// Plays the story with a crash at each place, on these sides. `named` are places that must be among them: a name, what
/// comes at it first (after the shed, where there is one), and the side.
fn everywhere(scenario: Scenario, sides: &[Moment], named: &[(&str, &str, Moment)]) {
    let began = serin::clock::instant();
    let calm = Play::of(scenario).run();
    assert_eq!(calm.wrong, Vec::<String>::new(), "undisturbed");
    let doings = doings(&calm);
    assert_eq!(doings, self::doings(&Play::of(scenario).run()), "a second run does the same");
    let same = followed_at_once(&calm);
    let dull = if sides == BOTH { BTreeSet::new() } else { further_events(&calm) };
    let tried = doings.iter().filter(|doing| !dull.contains(doing));
    let all = tried.flat_map(|doing| sides.iter().map(|side| (doing.clone(), *side)));
    let places: Vec<(Doing, Moment)> =
        all.filter(|(doing, side)| *side == Moment::Before || !same.contains(doing)).collect();
    let mut report = named_places(&calm, &places, named);
    let failures = each(&places, |place| trouble(scenario, &calm, place));
    table(&mut report, &places);
    let _ = writeln!(
        report,
        "stories: {scenario}: {} effects, {} crashes, {} s",
        doings.len(),
        places.len(),
        began.elapsed().as_secs()
    );
    // Not `print!`, which a test keeps to itself when it passes.
    std::io::stdout().write_all(report.as_bytes()).unwrap();
    assert!(failures.is_empty(), "{} of {} crashes:\n{}", failures.len(), places.len(), failures.join("\n"));
}

/// True where a process only says that it still leads.
fn is_renewal(point: &Point) -> bool {
    point.resource == "leases" && point.verb == "update"
}

/// What serin did in this play, in order of kind, but for most of the renewals of its Leases: they are all alike.
fn doings(seen: &Seen) -> Vec<Doing> {
    let mut doings: Vec<Doing> = seen.played.door.with(|world| {
        let points = world.log().map(|logged| &logged.point);
        let ours =
            points.filter(|point| ROLES.contains(&point.actor.as_str())).filter(|point| is_write(point));
        let ours = ours.filter(|point| !is_renewal(point) || point.nth % RENEWALS == 1);
        ours.cloned().map(Doing::Request).collect()
    });
    let numbered = |names: &[String]| (1_u32..).zip(names.to_vec()).collect::<Vec<_>>();
    doings.extend(numbered(&seen.transfers).into_iter().map(|(nth, name)| Doing::Transfer(nth, name)));
    doings.extend(numbered(&seen.calls).into_iter().map(|(nth, name)| Doing::Call(nth, name)));
    doings.sort();
    doings
}

/// Writes of the controller that are followed, at the same time and with nobody else's write between, by another of
/// its own. To die after such a one is to die before the next: the world is the same, and the process forgets all.
fn followed_at_once(seen: &Seen) -> BTreeSet<Doing> {
    seen.played.door.with(|world| {
        let writes: Vec<_> = world.log().filter(|logged| is_write(&logged.point)).collect();
        let is_ours = |logged: &Logged| logged.point.actor == "controller";
        let pairs =
            writes.windows(2).filter(|pair| is_ours(pair[0]) && is_ours(pair[1]) && pair[0].at == pair[1].at);
        pairs.map(|pair| Doing::Request(pair[0].point.clone())).collect()
    })
}

/// Events that come right after another one: to die before them is to lose one more line of what was said.
fn further_events(seen: &Seen) -> BTreeSet<Doing> {
    let is_event = |logged: &Logged| logged.point.resource == "events";
    seen.played.door.with(|world| {
        let writes: Vec<_> = world.log().filter(|logged| is_write(&logged.point)).collect();
        let pairs = writes.windows(2).filter(|pair| {
            is_event(pair[0]) && is_event(pair[1]) && pair[0].point.actor == pair[1].point.actor
        });
        pairs.map(|pair| Doing::Request(pair[1].point.clone())).collect()
    })
}

fn is_write(point: &Point) -> bool {
    !matches!(point.verb, "get" | "list" | "watch")
}

fn kind(doing: &Doing) -> String {
    match doing {
        Doing::Request(point) => format!("{} {} {}", point.actor, point.verb, point.resource),
        Doing::Transfer(_, name) => format!("gitops transfer {name}"),
        Doing::Call(_, method) => format!("notify call {method}"),
    }
}

fn table(report: &mut String, places: &[(Doing, Moment)]) {
    let mut counts = BTreeMap::<String, [usize; 2]>::new();
    for (doing, side) in places {
        let [before, after] = counts.entry(kind(doing)).or_default();
        match side {
            Moment::Before => *before += 1,
            Moment::After => *after += 1,
        }
    }
    for (kind, [before, after]) in counts {
        let _ = writeln!(report, "stories:   {before:>3} before, {after:>3} after  {kind}");
    }
}

/// Finds the places that have a name, and says where they are.
fn named_places(calm: &Seen, places: &[(Doing, Moment)], named: &[(&str, &str, Moment)]) -> String {
    let mut text = String::new();
    for (name, first, side) in named {
        let wanted = match point_after_shed(calm, first) {
            Some(point) => Doing::Request(point),
            None => places
                .iter()
                .map(|(doing, _)| doing)
                .find(
                    |doing| matches!(doing, Doing::Transfer(_, what) | Doing::Call(_, what) if what == first),
                )
                .unwrap_or_else(|| panic!("nothing like {first}"))
                .clone(),
        };
        assert!(places.contains(&(wanted.clone(), *side)), "{name}: {wanted:?}");
        let _ = writeln!(text, "stories:   {name}: {side} {}", wanted.point());
    }
    text
}

/// The first request of this kind after the canary's traffic was taken away.
fn point_after_shed(calm: &Seen, kind: &str) -> Option<Point> {
    calm.played.door.with(|world| {
        let is_shed = |point: &Point, body: &Value| {
            point.resource == "virtualservices" && body.to_string().contains("shed.serin.dev")
        };
        let mut after = world
            .log()
            .skip_while(|logged| !is_shed(&logged.point, &logged.body))
            .map(|logged| &logged.point);
        after.find(|point| format!("{} {} {}", point.actor, point.verb, point.resource) == kind).cloned()
    })
}

/// Runs `judge` over all places on as many threads as there are processors; what it found, in order.
fn each(
    places: &[(Doing, Moment)],
    judge: impl Fn(&(Doing, Moment)) -> Option<String> + Sync,
) -> Vec<String> {
    let next = Mutex::new(0..places.len());
    let found = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(at) = next.lock().unwrap().next() else { return };
                    if let Some(trouble) = judge(&places[at]) {
                        found.lock().unwrap().insert(at, trouble);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap().into_values().collect()
}

/// What is wrong with the play in which the process dies here.
fn trouble(scenario: Scenario, calm: &Seen, (doing, side): &(Doing, Moment)) -> Option<String> {
    let seen = Play { crash: Some((doing.clone(), *side)), ..Play::of(scenario) }.run();
    let mut wrong = seen.wrong.clone();
    let points = deaths(&seen);
    // A leader that is dead already is not killed by the story again.
    let wanted = deaths(calm).len() + usize::from(scenario != Scenario::TakeoverByRestart);
    if points.len() < wanted || points.len() > deaths(calm).len() + 1 || !points.contains(&doing.point()) {
        wrong.push(format!("died at {points:?}"));
    }
    let (there, here) = (settled(scenario, ending(calm)), settled(scenario, ending(&seen)));
    for (fact, value) in &there {
        if here.get(fact) != Some(value) {
            wrong.push(format!("{fact} ends as {:?} instead of {value}", here.get(fact)));
        }
    }
    wrong
        .extend(here.keys().filter(|fact| !there.contains_key(*fact)).map(|fact| format!("{fact} is there")));
    wrong.extend(late(scenario, calm, &seen, doing));
    (!wrong.is_empty()).then(|| format!("  {side} {}: {:.2000}", doing.point(), wrong.join("; ")))
}

/// Without what may be true in either way: that a person was first is seen in Git, or by the Rollout.
fn settled(scenario: Scenario, mut facts: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let reasons = [json!("ThirdValue"), json!("RolloutMovedOn")];
    facts.retain(|fact, value| {
        scenario != Scenario::FixedFirst || !fact.ends_with("/status/reason") || !reasons.contains(value)
    });
    facts
}

/// Where processes died: those that the story kills, too.
fn deaths(seen: &Seen) -> Vec<Point> {
    seen.played.door.with(|world| world.crashes().iter().map(|crash| crash.point.clone()).collect())
}

/// Traffic is not a millisecond later when the Git lane or the notifier dies, and little later when the controller does.
/// Up to where it is all back for the first time: what comes then may wait for Git.
fn late(scenario: Scenario, calm: &Seen, seen: &Seen, doing: &Doing) -> Option<String> {
    let (planned, came) = (first_climb(&calm.case.entries), first_climb(&seen.case.entries));
    if !doing.point().actor.starts_with("controller") {
        return (planned != came).then(|| format!("traffic went {came:?} instead of {planned:?}"));
    }
    let gone = |steps: &[(Timestamp, i64)]| steps.last().map(|(at, _)| *at);
    let later = gone(&came)?.duration_since(gone(&planned)?);
    let at_most = match scenario {
        // These end so long after the first step, whenever that was.
        Scenario::PrometheusDown => THROUGH_LATER_AT_MOST + ASKED_AGAIN_AFTER,
        Scenario::Good
        | Scenario::NoData
        | Scenario::UserAbort
        | Scenario::BadPods
        | Scenario::Superseded => THROUGH_LATER_AT_MOST,
        Scenario::TakeoverByRestart => TAKEN_OVER_AT_MOST,
        Scenario::BadMetric | Scenario::GitDown | Scenario::FixedFirst | Scenario::Contested => {
            GONE_LATER_AT_MOST
        }
    };
    (later > at_most).then(|| format!("traffic went {came:?} instead of {planned:?}: {later:#} later"))
}

/// The weights until the canary has none for the first time after it had some.
fn first_climb(entries: &[Entry]) -> Vec<(Timestamp, i64)> {
    let mut all = weights(entries);
    let climbed = all.iter().position(|(_, weight)| *weight > 0).unwrap_or(0);
    let gone = all.iter().skip(climbed).position(|(_, weight)| *weight == 0);
    all.truncate(gone.map_or(all.len(), |gone| climbed + gone + 1));
    all
}

/// When the canary's weight changed, and to what.
fn weights(entries: &[Entry]) -> Vec<(Timestamp, i64)> {
    let mut weights: Vec<(Timestamp, i64)> = vec![];
    for entry in entries.iter().filter(|entry| entry.asked().is_some()) {
        if let Some(weight) = entry.canary_weight
            && weights.last().is_none_or(|(_, last)| *last != weight)
        {
            weights.push((entry.at, weight));
        }
    }
    weights
}
