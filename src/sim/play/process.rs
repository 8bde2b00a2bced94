//! A process of serin on the stage: it runs, dies of a planted fault, and is started again as a kubelet would.

use std::{future::Future, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::sim::door::Door;

/// From a crash to the next start. A kubelet waits ten seconds after the first crash of a container.
const BACK_AFTER: Duration = Duration::from_secs(10);

/// Runs what `start` makes, and makes it anew each time that the process of `actor` died, until it ends by itself.
///
/// A crash takes all tasks of the process with it: they belong to the future that is dropped here.
pub(super) async fn keep<F>(
    door: Door,
    actor: &'static str,
    shutdown: CancellationToken,
    start: impl Fn(kube::Client) -> F,
) where
    F: Future<Output = ()>,
{
    let (clock, mut crashes) = (door.clock(), door.crashes());
    loop {
        tokio::select! {
            biased;
            () = died(&door, actor, &mut crashes) => {}
            () = start(client(&door, actor)) => return,
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = clock.sleep(BACK_AFTER) => {}
        }
        door.with(|world| world.revive(actor));
    }
}

/// Waits until the process of `actor` is dead.
async fn died(door: &Door, actor: &str, crashes: &mut watch::Receiver<usize>) {
    while !door.with(|world| world.is_down(actor)) {
        if crashes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A client whose requests are not answered any more once the process is dead: what is dead cannot go on with an error.
fn client(door: &Door, actor: &'static str) -> kube::Client {
    let (door, inner) = (door.clone(), door.client(actor));
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (door, inner) = (door.clone(), inner.clone());
        async move {
            let answer = inner.send(request).await;
            if door.with(|world| world.is_down(actor)) {
                std::future::pending::<()>().await;
            }
            answer
        }
    });
    kube::Client::new(service, "default")
}
