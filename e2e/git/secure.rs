//! The lane over HTTPS: the right token through a verified connection and nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use serin::{
    api::http::{Method, Request, Response},
    sim::fault::Intercept,
};

use super::{
    Remote,
    https::{Authority, Leaf, Manner, Server, USER},
    shop::{FILE, Shop, manifest, remote},
};

pub(crate) const TOKEN: &str = "glpat-Zq7/secret+token";

/// A shop whose policy pushes to a server over HTTPS, with everything that is needed for it.
pub(crate) struct Street {
    pub(crate) remote: Remote,
    pub(crate) authority: Authority,
    pub(crate) server: Server,
    pub(crate) shop: Shop,
}

impl Street {
    fn new() -> Self {
        let (remote, authority) = (remote(), Authority::new());
        let server = Server::serve(&remote, &authority, TOKEN);
        Self::of(remote, authority, server, Shop::new())
    }

    /// A rolled back `myapp` on the shop, and all that the policy names.
    pub(crate) fn of(remote: Remote, authority: Authority, server: Server, mut shop: Shop) -> Self {
        shop.config.transfer.limit = Duration::from_secs(5);
        shop.roll_back("myapp");
        shop.allow("myapp", &server.url(), "Push");
        let git = json!({"url": server.url(), "secretRef": {"name": "git"}, "caSecretRef": {"name": "ca"}});
        shop.policy(&json!({"git": git}));
        shop.secret("default", "git", &[("username", USER), ("password", TOKEN)]);
        shop.secret("default", "ca", &[("ca.crt", &authority.pem())]);
        Self { remote, authority, server, shop }
    }

    /// Runs the lane until it stands so, then puts everything right with `repair`, and expects the lane to find that
    /// out by itself and to push one commit.
    async fn recovers(
        &mut self,
        (phase, reason): (&str, &str),
        words: &[&str],
        repair: impl FnOnce(&mut Self),
    ) -> Value {
        let lane = self.shop.run();
        let status = self.shop.stands(phase, reason).await;
        let message = status["message"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message}");
        }
        assert!(!status.to_string().contains(TOKEN), "{status}");
        assert!(Shop::reverts(&self.remote).is_empty());
        repair(self);
        self.shop.stands("Pushed", "WaitingForEngine").await;
        lane.end().await;
        assert_eq!(self.remote.file(FILE), manifest("v1.1.0"));
        assert_eq!(Shop::reverts(&self.remote).len(), 1);
        assert_eq!(self.shop.homes(), 0, "a transfer left its home behind");
        status
    }
}

#[tokio::test(start_paused = true)]
async fn a_revert_is_pushed_over_https_with_a_token_and_an_authority_of_ones_own() {
    let street = Street::new();
    let lane = street.shop.run();
    let status = street.shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(street.remote.file(FILE), manifest("v1.1.0"));
    let [commit] = Shop::reverts(&street.remote).try_into().unwrap();
    assert_eq!(status["commit"], commit.id.to_string());
    assert!(street.server.authorizations().iter().any(|header| header.starts_with("Basic ")));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_token_is_a_matter_for_people_and_a_new_one_is_picked_up() {
    let mut street = Street::new();
    street.shop.set_secret("git", &[("password", "glpat-old-and-expired")]);
    let status = street
        .recovers(
            ("Blocked", "Unauthorized"),
            &["refused the credential", "check the Secret `git`"],
            |street| {
                street.shop.set_secret("git", &[("password", TOKEN)]);
            },
        )
        .await;
    assert_eq!(status["conditions"][0]["status"], "Unknown");
    // Asked once with each connection, not until the account is locked.
    let wrong = street.server.authorizations().iter().filter(|header| header.contains("Basic")).count();
    assert!(wrong < 40, "{wrong} requests with a credential");
}

#[tokio::test(start_paused = true)]
async fn secrets_that_are_missing_forbidden_or_incomplete_are_named() {
    let mut street = Street::new();
    street.shop.delete_secret("default", "git");
    // One of the same name in another namespace is nobody's business here.
    street.shop.namespace("other");
    street.shop.secret("other", "git", &[("username", USER), ("password", TOKEN)]);
    street
        .recovers(("Blocked", "SecretMissing"), &["has no Secret `git`"], |street| {
            street.shop.secret("default", "git", &[("username", USER), ("password", TOKEN)]);
        })
        .await;
    let mut street = Street::new();
    street.shop.set_secret("git", &[("password", "two\nlines")]);
    street
        .recovers(("Blocked", "SecretUnusable"), &["`git`, key `password`", "more than one line"], |street| {
            street.shop.set_secret("git", &[("password", TOKEN)]);
        })
        .await;
    let mut street = Street::new();
    street.shop.door.with(|world| {
        world.intercept(Box::new(|request: &mut Request, actor: &str| {
            let is_secret = request.method == Method::Get && request.path.contains("/secrets/");
            if actor == "gitops" && is_secret {
                let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden"});
                return Intercept::Answer(Response { status: 403, body });
            }
            Intercept::Pass
        }));
    });
    street
        .recovers(
            ("Blocked", "SecretForbidden"),
            &["deploy/optional/git-secrets.yaml", "RoleBinding"],
            |street| {
                street.shop.door.with(|world| world.intercept(Box::new(|_, _| Intercept::Pass)));
            },
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_verified_whatever_is_wrong_with_it() {
    let mut street = Street::new();
    street.server.presents(&street.authority, Leaf::Expired);
    let loopback = |street: &mut Street| street.server.presents(&street.authority, Leaf::Loopback);
    street.recovers(("Blocked", "CertificateRefused"), &["it has expired"], loopback).await;
    let mut street = Street::new();
    street.server.presents(&street.authority, Leaf::Elsewhere);
    let words = ["it is for another host", "elsewhere.example"];
    street.recovers(("Blocked", "CertificateRefused"), &words, loopback).await;
    let mut street = Street::new();
    let stranger = Authority::new();
    street.server.presents(&stranger, Leaf::Loopback);
    street
        .recovers(("Blocked", "CertificateRefused"), &["authority that is not known"], |street| {
            street.shop.set_secret("ca", &[("ca.crt", &stranger.pem())]);
        })
        .await;
    assert!(street.server.authorizations().iter().any(|header| header.starts_with("Basic ")));
}

#[tokio::test(start_paused = true)]
async fn without_an_authority_of_ones_own_the_systems_are_asked_and_nothing_is_sent() {
    let street = Street::new();
    street.shop.policy(&json!({"git": {"caSecretRef": null}}));
    let lane = street.shop.run();
    street.shop.stands("Blocked", "CertificateRefused").await;
    lane.end().await;
    assert_eq!(street.server.authorizations(), Vec::<String>::new(), "no request came through");
}

#[tokio::test(start_paused = true)]
async fn a_redirect_to_another_host_is_not_followed_and_gets_no_credential() {
    let mut street = Street::new();
    let other = Server::serve(&street.remote, &street.authority, TOKEN);
    // By another name, which leads to the same machine.
    let to = other.url().replace("127.0.0.1", "localhost");
    let to = to.strip_suffix("/deploy.git").and_then(|to| to.rsplit_once('/')).unwrap().0.to_owned();
    street.server.becomes(Manner::Redirect(to));
    street
        .recovers(("Blocked", "Redirected"), &["localhost", "`git.url`"], |street| {
            street.server.becomes(Manner::Serve);
        })
        .await;
    assert_eq!(other.authorizations(), Vec::<String>::new(), "it was not even asked");
    // On the same host, but another port: it is asked, and the credential is kept back.
    let mut street = Street::new();
    let other = Server::serve(&street.remote, &street.authority, TOKEN);
    let to = other.url().strip_suffix("/deploy.git").and_then(|to| to.rsplit_once('/')).unwrap().0.to_owned();
    street.server.becomes(Manner::Redirect(to));
    street
        .recovers(("Blocked", "Redirected"), &["another server asks"], |street| {
            street.server.becomes(Manner::Serve);
        })
        .await;
    assert!(other.authorizations().iter().all(|header| header == "-"), "{:?}", other.authorizations());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_hangs_or_trickles_is_waited_for() {
    let outage = ("Pending", "RemoteUnreachable");
    for (manner, words) in [
        (Manner::Status(500), "500"),
        (Manner::Status(503), "503"),
        (Manner::Hang, "no answer within 5 s"),
        (Manner::Trickle(20), "no answer within 5 s"),
    ] {
        let mut street = Street::new();
        street.server.becomes(manner);
        let serve = |street: &mut Street| street.server.becomes(Manner::Serve);
        let status = street.recovers(outage, &[words], serve).await;
        assert_eq!(status["conditions"][0]["status"], "Unknown");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_is_not_there_is_a_matter_for_people() {
    let mut street = Street::new();
    street.server.becomes(Manner::Status(404));
    street
        .recovers(("Blocked", "RemoteNotFound"), &["404", "`git.url`"], |street| {
            street.server.becomes(Manner::Serve);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_may_only_be_read_is_a_matter_for_people() {
    let mut street = Street::new();
    let receives = |street: &Street, yes: bool| {
        street.remote.open().config().unwrap().set_bool("http.receivepack", yes).unwrap();
    };
    receives(&street, false);
    street
        .recovers(("Blocked", "Unauthorized"), &["403", "may it read and push"], |street| {
            receives(street, true)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_declined_push_quotes_the_hook() {
    let mut street = Street::new();
    let hook = street.remote.path().join("hooks/pre-receive");
    super::transfers::hook(&hook, "echo 'main needs two reviews, ask #platform' >&2; exit 1");
    street
        .recovers(
            ("Blocked", "PushRefused"),
            &["pre-receive hook declined", "ask #platform", "`main`"],
            |_| {
                std::fs::remove_file(&hook).unwrap();
            },
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_repeats_the_token_is_not_quoted() {
    let street = Street::new();
    let hook = street.remote.path().join("hooks/pre-receive");
    super::transfers::hook(&hook, &format!("echo 'you sent {TOKEN}' >&2; exit 1"));
    let lane = street.shop.run();
    let status = street.shop.stands("Pending", "RemoteUnreachable").await;
    lane.end().await;
    assert!(status["message"].as_str().unwrap().contains("holds the credential"), "{status}");
    assert!(!status.to_string().contains(TOKEN), "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_branch_that_moves_under_a_push_over_https_is_decided_anew() {
    let street = Street::new();
    // The server's own answer to the race, not ours: the hook moves the branch while the push is looked at.
    let tip = street.remote.tip();
    let elsewhere = street.remote.commit(&[("other.yaml", "x: 1\n")], "Go on");
    street.remote.open().reference("refs/heads/main", tip, true, "back").unwrap();
    let hook = street.remote.path().join("hooks/pre-receive");
    super::transfers::hook(
        &hook,
        &format!("env -u GIT_QUARANTINE_PATH git update-ref refs/heads/main {elsewhere} {tip}; rm \"$0\""),
    );
    let lane = street.shop.run();
    let status = street.shop.stands("Pushed", "WaitingForEngine").await;
    lane.end().await;
    assert_eq!(status["attempts"], 2);
    assert_eq!(
        (street.remote.file(FILE), street.remote.file("other.yaml")),
        (manifest("v1.1.0"), "x: 1\n".into())
    );
    assert_eq!(Shop::reverts(&street.remote).len(), 1);
}
