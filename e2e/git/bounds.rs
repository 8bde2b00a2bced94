//! Repositories that are larger than any that a revert is made in.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};

use super::{
    Remote,
    daemon::Daemon,
    shop::{FILE, Shop, manifest, remote},
};

/// Text of about so many bytes that does not compress much.
fn noise(bytes: usize) -> String {
    (0_u64..).map(|n| format!("{:x}\n", Sha256::digest(n.to_be_bytes()))).take(bytes / 65).collect()
}

fn size(folder: &Path) -> u64 {
    let of = |entry: std::fs::DirEntry| {
        let data = entry.metadata().unwrap();
        if data.is_dir() { size(&entry.path()) } else { data.len() }
    };
    std::fs::read_dir(folder).unwrap().map(|entry| of(entry.unwrap())).sum()
}

fn shop_of(server: &Daemon) -> Shop {
    let shop = Shop::new();
    shop.roll_back("myapp");
    shop.allow("myapp", &server.url(), "Push");
    shop
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_too_large_is_given_up_before_it_fills_the_disk() {
    let remote = remote();
    remote.commit(&[("video.txt", &noise(3_000_000))], "Add a film");
    let server = Daemon::serve(&remote);
    let mut shop = shop_of(&server);
    shop.config.transfer.most_bytes = 300_000;
    let lane = shop.run();
    let status = shop.stands("Blocked", "RepositoryTooLarge").await;
    lane.end().await;
    assert!(status["message"].as_str().unwrap().contains("--max-fetch-bytes"), "{status}");
    assert!(size(&shop.clones()) < 1_000_000, "{} bytes are left", size(&shop.clones()));
    // The bound is the operator's to raise.
    shop.config.transfer.most_bytes = 30_000_000;
    let lane = shop.run();
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(remote.file(FILE), manifest("v1.1.0"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_too_large_is_not_read() {
    let remote = Remote::new(&[(FILE, &noise(2_000_000))]);
    let server = Daemon::serve(&remote);
    let shop = shop_of(&server);
    let lane = shop.run();
    let status = shop.stands("Blocked", "TooLarge").await;
    lane.end().await;
    assert!(status["message"].as_str().unwrap().contains("the most that is read is 1048576"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_long_history_is_not_fetched() {
    let remote = remote();
    let tip = remote.tip();
    let mut import = Command::new("git")
        .arg("-C")
        .arg(remote.path())
        .args(["fast-import", "--quiet", "--force"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut script = import.stdin.take().unwrap();
    for n in 0..20_000 {
        let from = if n == 0 { format!("from {tip}\n") } else { String::new() };
        write!(script, "commit refs/heads/main\ncommitter P <p@example.org> {n} +0000\ndata 3\nGo\n{from}\n")
            .unwrap();
    }
    drop(script);
    assert!(import.wait().unwrap().success());
    let server = Daemon::serve(&remote);
    let shop = shop_of(&server);
    let lane = shop.run();
    shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(remote.file(FILE), manifest("v1.1.0"));
    assert!(size(&shop.clones()) < 300_000, "{} bytes are left", size(&shop.clones()));
}
