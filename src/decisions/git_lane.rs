//! # How serin writes to Git
//!
//! **Reverts edit bytes; they are no `git revert`.** The commit that brought the bad version may hold other people's
//! work. Only the text of the image is replaced, proved by reading both texts again as values: exactly the expected
//! values differ, and the pod template hash is not a third one where the file says enough to compute it. Any doubt is
//! a refusal with a reason. In a kustomization the whole image is looked at, not only the tag: an entry whose name,
//! suffix or digest makes something else of it is left alone.
//!
//! **Every fetch and push is a child process.** A network call of libgit2 cannot be cancelled and its time limits are
//! unsafe and process-wide. The child gets the order and the credential on stdin, answers on stdout, is killed with its
//! group at its deadline, ends itself when stdin closes, and may neither dump core nor take more than 256 MiB of its
//! own (a fetch of 150 MB in 20,000 files took 25). At most six run at once.
//!
//! **Secrets travel through a pipe and nowhere else.** Not through arguments, environment, addresses or files. What is
//! public goes to the child's own home folder, because libgit2 and libssh2 take it from nowhere else without `unsafe`:
//! the certificate authority (`SSL_CERT_FILE`; then the system's are not trusted) and the server's host keys. An answer
//! that repeats the credential is thrown away: hooks print what they like. Secrets are read anew for every try, only
//! from the namespace of the SelfHeal, by a Role that each namespace grants for named Secrets. The keys in them are
//! Flux's, so that a GitRepository's Secret can be used again.
//!
//! **Verification has no switch.** `http://` and `git://` are refused (the second and `file://` are behind a flag for
//! tests). An SSH server that `known_hosts` does not name is not spoken to; the check is ours, in memory, because
//! libssh2 says no more than "unknown", and gives up at a line that it cannot read. It is handed the server's own
//! lines in plain form, so that it asks for a kind of key that stands there. libgit2 says only that a certificate is
//! invalid, so a second handshake without a credential finds out why. A redirect to another host is not followed; one
//! to another port of the same host is, and is given no credential when it asks. A token in an address, as a user's
//! name or in the query, is refused.
//!
//! **The branch is moved by compare-and-swap, and the branch is the memory.** A push names the commit that it is a
//! child of. After any failure that leaves doubt the branch itself is asked, not the words of the server. A commit of
//! ours is known by its trailer, `Serin-Rollback-Key`, a hash of Rollout, bad version, repository and path, searched for
//! among the last 50; so a crash at any request or transfer ends in one commit. The try is counted in the status before
//! it is made: whoever comes after a crash asks Git even where nothing may be pushed any more.
//!
//! **Two kinds of failure.** `Pending`: the remote is down, slow or answers 5xx; tried again after 1 s, doubling to
//! 5 min. `Blocked`: a person has to act (credential, certificate, host key, hook, path, size); tried again too, up to
//! every 15 min, because nothing tells serin when a token was renewed, and at once when the policy is touched. Where Git
//! could not be read the condition `GitReverted` is `Unknown`, never `False`.
//!
//! **Everything is bounded.** Time (1 min a transfer), bytes and objects of a fetch (256 MiB, two million), history (50
//! commits), a file (1 MiB), a folder or commit (16 MiB; sizes are read before contents), all clones together (four
//! fetches; the longest unused go). Clones can be lost at any time: locks and halves of packs that a killed child
//! leaves are removed before the next fetch.
//!
//! **Instead of** the `git` program (an image with git and ssh, credentials in files or environment), gix (cannot push),
//! a clone with a work tree (symlinks, filters, hooks), and a forge's API (one for each forge; that is for pull
//! requests).
//!
//! **Price.** No HTTP proxies, no client certificates, no SSH host certificates, no `git@host:path`; no signed commits
//! and no pull requests yet. A clone is shared by all policies of one address; what it holds is reached only after a
//! fetch with the policy's own credential. Two namespaces with one address wait for each other's transfers.
