//! Whether a server's SSH host key is one of those in a `known_hosts` file. Pure. The format is OpenSSH's (sshd(8),
//! "SSH_KNOWN_HOSTS FILE FORMAT"): plain, hashed and wildcard names, `[host]:port`, `@revoked`.

use aws_lc_rs::hmac;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use sha2::{Digest, Sha256};

/// What a file says of a host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Known,
    /// The very key is marked as revoked.
    Revoked,
    /// The file has another key of the same kind for the host.
    Changed,
    /// The file has keys of other kinds only, these.
    OtherKinds(Vec<String>),
    /// The file does not name the host.
    Unknown,
}

/// A line of a file that names the host.
struct Line<'a> {
    mark: Option<&'a str>,
    kind: &'a str,
    key: &'a str,
}

/// The name that OpenSSH looks a server up by.
fn name((host, port): (&str, u16)) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The lines that name a server. What is not readable names nobody.
fn lines<'a>(known_hosts: &'a str, server: (&str, u16)) -> impl Iterator<Item = Line<'a>> {
    let name = name(server);
    known_hosts.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let mut words = line.split_whitespace().peekable();
        let mark = words.next_if(|word| word.starts_with('@'));
        let (names, kind, key) = (words.next()?, words.next()?, words.next()?);
        names_host(names, &name).then_some(Line { mark, kind, key })
    })
}

/// A file with the server's keys alone, in the plainest form. libssh2 takes the kinds of keys that it asks for from it;
/// it knows no wildcards and gives up at a line that it cannot read.
pub(super) fn plain(known_hosts: &str, server: (&str, u16)) -> String {
    let is_whole = |line: &Line<'_>| STANDARD.decode(line.key).is_ok_and(|key| kind(&key) == line.kind);
    lines(known_hosts, server)
        .filter(|line| line.mark.is_none() && is_whole(line))
        .map(|line| format!("{} {} {}\n", name(server), line.kind, line.key))
        .collect()
}

/// Looks `key` (as it is on the wire) of a server at a host and port up.
pub(super) fn check(known_hosts: &str, server: (&str, u16), key: &[u8]) -> Verdict {
    let (kind, encoded) = (kind(key), STANDARD.encode(key));
    let mut verdict = Verdict::Unknown;
    for line in lines(known_hosts, server) {
        match (line.mark, line.kind == kind, line.key == encoded) {
            (Some("@revoked"), _, true) => return Verdict::Revoked,
            (None, true, true) => verdict = Verdict::Known,
            (None, true, false) if verdict != Verdict::Known => verdict = Verdict::Changed,
            (None, false, _) => match &mut verdict {
                Verdict::Unknown => verdict = Verdict::OtherKinds(vec![line.kind.into()]),
                Verdict::OtherKinds(kinds) => kinds.push(line.kind.into()),
                Verdict::Known | Verdict::Revoked | Verdict::Changed => {}
            },
            // A certificate authority or a mark of a later OpenSSH: host certificates are not supported.
            (..) => {}
        }
    }
    verdict
}

/// The kind of a key, which is the first text in it.
pub(super) fn kind(key: &[u8]) -> String {
    let length = key.first_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let name = key.get(4..).and_then(|rest| rest.get(..usize::try_from(length).ok()?));
    String::from_utf8_lossy(name.unwrap_or_default()).into_owned()
}

/// The fingerprint as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(key: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(key)))
}

/// True where the first word of a line names the host, and does not except it.
fn names_host(names: &str, host: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        return is_hash_of(hashed, host);
    }
    let mut found = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(excepted) if matches(excepted.to_ascii_lowercase().as_bytes(), host.as_bytes()) => {
                return false;
            }
            Some(_) => {}
            None => found |= matches(pattern.to_ascii_lowercase().as_bytes(), host.as_bytes()),
        }
    }
    found
}

/// `hashed` is a salt and the HMAC-SHA1 of the name by it, both in base64, with a `|` between.
fn is_hash_of(hashed: &str, host: &str) -> bool {
    let decoded = hashed
        .split_once('|')
        .and_then(|(salt, hash)| Some((STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?)));
    decoded.is_some_and(|(salt, hash)| {
        let salt = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        hmac::verify(&salt, host.as_bytes(), &hash).is_ok()
    })
}

/// `*` stands for any text, `?` for any one letter. Takes at most the product of the two lengths.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(letter) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(expected) if expected == letter || *expected == b'?' => {
                (p, t) = (p + 1, t + 1);
            }
            Some(_) | None => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of a kind, as it is on the wire as far as anything here reads it.
    fn key(kind: &str, rest: u8) -> Vec<u8> {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        [&length, kind.as_bytes(), &[rest; 32]].concat()
    }

    fn line(names: &str, key: &[u8]) -> String {
        format!("{names} {} {} a comment\n", kind(key), STANDARD.encode(key))
    }

    fn verdict(file: &str, at: (&str, u16)) -> Verdict {
        check(file, at, &key("ssh-ed25519", 1))
    }

    #[test]
    fn a_key_is_known_by_the_name_and_port_of_its_host() {
        let ours = key("ssh-ed25519", 1);
        for (names, host, port, known) in [
            ("git.example", "git.example", 22, true),
            ("git.example", "GIT.example", 22, true),
            ("other,git.example,192.0.2.1", "git.example", 22, true),
            ("git.example", "git.example", 2222, false),
            ("[git.example]:2222", "git.example", 2222, true),
            ("[git.example]:2222", "git.example", 22, false),
            ("*.example", "git.example", 22, true),
            ("g?t.*", "git.example", 22, true),
            ("*.example,!git.example", "git.example", 22, false),
            ("*", "git.example", 22, true),
            ("git.exampl", "git.example", 22, false),
            ("@cert-authority *.example", "git.example", 22, false),
        ] {
            let found = verdict(&line(names, &ours), (host, port));
            let expected = if known { Verdict::Known } else { Verdict::Unknown };
            assert_eq!(found, expected, "{names} for {host}:{port}");
        }
    }

    #[test]
    fn hashed_names_are_as_openssh_makes_them() {
        // `ssh-keygen -H` on a line for `git.example`; the salt is random.
        let salt = [7_u8; 20];
        let by = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
        let hash = hmac::sign(&by, b"git.example");
        let names = format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hash.as_ref()));
        let file = line(&names, &key("ssh-ed25519", 1));
        assert_eq!(verdict(&file, ("git.example", 22)), Verdict::Known);
        assert_eq!(verdict(&file, ("git.exampl", 22)), Verdict::Unknown);
        for nonsense in ["|1|", "|1||", "|1|x|y", "|2|x|y"] {
            assert_eq!(
                verdict(&line(nonsense, &key("ssh-ed25519", 1)), ("git.example", 22)),
                Verdict::Unknown
            );
        }
    }

    #[test]
    fn another_key_of_the_same_kind_is_a_change_and_of_another_kind_is_not() {
        let at = ("git.example", 22);
        let (changed, rsa) =
            (line("git.example", &key("ssh-ed25519", 2)), line("git.example", &key("ssh-rsa", 1)));
        let known = line("git.example", &key("ssh-ed25519", 1));
        assert_eq!(verdict(&changed, at), Verdict::Changed);
        assert_eq!(verdict(&format!("{rsa}{changed}{rsa}"), at), Verdict::Changed);
        assert_eq!(verdict(&rsa, at), Verdict::OtherKinds(vec!["ssh-rsa".into()]));
        // While a server changes its key both stand there.
        assert_eq!(verdict(&format!("{known}{changed}"), at), Verdict::Known);
        assert_eq!(verdict(&format!("{changed}{known}"), at), Verdict::Known);
    }

    #[test]
    fn a_revoked_key_is_refused_wherever_else_it_stands() {
        let known = line("git.example", &key("ssh-ed25519", 1));
        for file in [format!("{known}@revoked {known}"), format!("@revoked {known}{known}")] {
            assert_eq!(verdict(&file, ("git.example", 22)), Verdict::Revoked);
        }
    }

    #[test]
    fn the_plain_form_has_the_servers_readable_keys_and_nothing_else() {
        let (ours, other) = (key("ssh-ed25519", 1), key("ssh-rsa", 2));
        let file = format!(
            "{}{}@revoked {}*.example ssh-ed25519 AAAA\nhalf a line\n",
            line("*.example", &ours),
            line("other", &other),
            line("git.example", &other)
        );
        let expected = format!("git.example ssh-ed25519 {}\n", STANDARD.encode(&ours));
        assert_eq!(plain(&file, ("git.example", 22)), expected);
        assert_eq!(
            plain(&line("[git.example]:23", &ours), ("git.example", 23)),
            format!("[git.example]:23 {}", &expected[12..])
        );
    }

    #[test]
    fn comments_and_nonsense_name_no_host() {
        for file in [
            "",
            "\n\n",
            "# git.example ssh-ed25519 AAAA",
            "git.example",
            "git.example ssh-ed25519",
            "@revoked",
        ] {
            assert_eq!(verdict(file, ("git.example", 22)), Verdict::Unknown, "{file}");
        }
        assert_eq!(check("", ("h", 22), b"\xff\xff\xff\xff"), Verdict::Unknown);
    }
}
