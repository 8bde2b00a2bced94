//! The process itself as a scrape shows it, under the names that every dashboard of processes knows. Read from
//! `/proc`; where there is none, nothing is shown.

use std::fs;

/// Of a second, in `/proc/self/stat`: `USER_HZ` is 100 on every Linux that serin runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Name, help, whether it only grows, value.
pub(super) type Number = (&'static str, &'static str, bool, f64);

/// What can be read now.
pub(super) fn read() -> Vec<Number> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (stat, limits) = (text("/proc/self/stat"), text("/proc/self/limits"));
    let open = fs::read_dir("/proc/self/fd").ok().map(|all| as_number(all.count()));
    let all = [
        ("process_cpu_seconds_total", "Processor time used, in seconds.", true, cpu(&stat)),
        ("process_resident_memory_bytes", "Memory in use.", false, resident(&text("/proc/self/status"))),
        ("process_open_fds", "Open file descriptors, sockets among them.", false, open),
        ("process_max_fds", "The most file descriptors that may be open.", false, max_open(&limits)),
        (
            "process_start_time_seconds",
            "When the process began, in Unix time.",
            false,
            started(&stat, &text("/proc/stat")),
        ),
    ];
    all.into_iter().filter_map(|(name, help, grows, value)| Some((name, help, grows, value?))).collect()
}

/// Fields after the program's name, which may hold spaces and parentheses. The first is number 3 in proc(5).
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default().split_whitespace()
}

fn field(stat: &str, number: usize) -> Option<f64> {
    fields(stat).nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn started(stat: &str, machine: &str) -> Option<f64> {
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS_PER_SECOND)
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn max_open(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "a process has fewer than 2^53 files open")]
fn as_number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_whose_name_holds_parentheses_is_read_like_any_other() {
        let stat = "1 (a) b (c) S 0 1 1 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 1000 5 6 7";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(started(stat, "cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_010.0));
    }

    #[test]
    fn this_process_has_all_numbers_and_they_are_plausible() {
        let all = read();
        assert_eq!(all.len(), 5);
        let of = |name: &str| all.iter().find(|one| one.0 == name).unwrap().3;
        assert!(of("process_resident_memory_bytes") > 1_000_000.0);
        assert!(of("process_open_fds") > 2.0 && of("process_open_fds") < of("process_max_fds"));
        assert!(of("process_start_time_seconds") > 1_700_000_000.0);
    }
}
