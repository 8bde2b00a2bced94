//! The lane over SSH: a key from a Secret, and a server whose own key is known.

use serde_json::{Value, json};

use super::{
    Remote,
    shop::{FILE, Shop, manifest, remote},
    ssh::{Key, Server},
};

/// A shop whose policy pushes to a server over SSH.
struct Street {
    remote: Remote,
    server: Server,
    host: Key,
    key: Key,
    shop: Shop,
}

impl Street {
    fn new() -> Self {
        Self::with(Key::new("ed25519", ""))
    }

    fn with(key: Key) -> Self {
        let (remote, host) = (remote(), Key::new("ed25519", ""));
        // It has a key of another kind too, which libssh2 would ask for first.
        let server = Server::serve(&remote, &[&host, &Key::new("ecdsa", "")], &key);
        let shop = Shop::new();
        shop.roll_back("myapp");
        shop.allow("myapp", &server.url(), "Push");
        shop.policy(&json!({"git": {"secretRef": {"name": "git"}}}));
        shop.secret("default", "git", &[("identity", &key.private()), ("known_hosts", &server.known(&host))]);
        Self { remote, server, host, key, shop }
    }

    async fn pushes(&self) {
        let lane = self.shop.run();
        self.shop.stands("Pushed", "WaitingForEngine").await;
        lane.end().await;
        assert_eq!(self.remote.file(FILE), manifest("v1.1.0"));
        assert_eq!(Shop::reverts(&self.remote).len(), 1);
    }

    /// Runs the lane until it stands so, then sets these values of the Secret, and expects one commit to be pushed
    /// without anything else being touched.
    async fn recovers(
        &self,
        (phase, reason): (&str, &str),
        words: &[&str],
        repair: &[(&str, &str)],
    ) -> Value {
        let lane = self.shop.run();
        let status = self.shop.stands(phase, reason).await;
        let message = status["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message}");
        }
        assert!(Shop::reverts(&self.remote).is_empty());
        self.shop.set_secret("git", repair);
        self.shop.stands("Pushed", "WaitingForEngine").await;
        lane.end().await;
        assert_eq!(Shop::reverts(&self.remote).len(), 1);
        assert_eq!(self.shop.homes(), 0, "a transfer left its home behind");
        status
    }
}

#[tokio::test(start_paused = true)]
async fn a_revert_is_pushed_over_ssh_with_keys_of_the_usual_kinds() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        Street::with(Key::new(kind, "")).pushes().await;
    }
}

#[tokio::test(start_paused = true)]
async fn hashed_names_in_known_hosts_are_understood() {
    let street = Street::new();
    street.shop.set_secret("git", &[("known_hosts", &street.server.known_hashed(&street.host))]);
    street.pushes().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_known_is_not_spoken_to() {
    let street = Street::new();
    street.shop.set_secret("git", &[("known_hosts", "git.example ssh-ed25519 AAAA\n")]);
    let words = ["`known_hosts` does not name it", "SHA256:", "check the Secret `git`"];
    street
        .recovers(
            ("Blocked", "HostKeyRefused"),
            &words,
            &[("known_hosts", &street.server.known(&street.host))],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_key_changed_is_not_spoken_to() {
    let street = Street::new();
    let former = Key::new("ed25519", "");
    street.shop.set_secret("git", &[("known_hosts", &street.server.known(&former))]);
    let words = ["has another one", "ssh-ed25519 key SHA256:"];
    let status = street
        .recovers(
            ("Blocked", "HostKeyRefused"),
            &words,
            &[("known_hosts", &street.server.known(&street.host))],
        )
        .await;
    assert_eq!(status["conditions"][0]["status"], "Unknown");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_server_does_not_let_in_is_a_matter_for_people() {
    let street = Street::new();
    street.shop.set_secret("git", &[("identity", &Key::new("ed25519", "").private())]);
    let words = ["refused the credential", "check the Secret `git`"];
    let right = street.key.private();
    street.recovers(("Blocked", "Unauthorized"), &words, &[("identity", &right)]).await;
}

#[tokio::test(start_paused = true)]
async fn a_passphrase_opens_the_key_and_a_missing_or_wrong_one_is_said_to_be() {
    let street = Street::with(Key::new("ed25519", "correct horse"));
    let words = ["private key cannot be used", "`identity` and `password`"];
    let right = [("password", "correct horse")];
    street.recovers(("Blocked", "SecretUnusable"), &words, &right).await;
    let street = Street::with(Key::new("ed25519", "correct horse"));
    street.shop.set_secret("git", &[("password", "battery staple")]);
    let status = street.recovers(("Blocked", "SecretUnusable"), &words, &right).await;
    assert!(!status.to_string().contains("battery"), "{status}");
    let street = Street::new();
    street.shop.set_secret("git", &[("identity", "not a key at all")]);
    let right = street.key.private();
    street.recovers(("Blocked", "SecretUnusable"), &words, &[("identity", &right)]).await;
}
