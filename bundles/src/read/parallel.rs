//! One kind of work on many things, on all processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How often progress is told.
const INTERVAL: Duration = Duration::from_millis(100);

/// Does `work` on each of the items, in their order on `processors` threads, until one says false. Each thread has what
/// `begin` makes. Meanwhile `tick` is called now and then, on this thread.
pub(super) fn each<T: Sync, S>(
    items: &[T],
    processors: Option<usize>,
    tick: &mut dyn FnMut(),
    begin: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> bool + Sync,
) {
    let threads = processors.or_else(|| thread::available_parallelism().ok().map(NonZero::get)).unwrap_or(1);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (running, watch) = channel::<()>();
        for _ in 0..threads.clamp(1, items.len().max(1)) {
            let running = running.clone();
            let (next, begin, work) = (&next, &begin, &work);
            scope.spawn(move || {
                // Its end is what the other end of the channel sees.
                let _running = running;
                let mut state = begin();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !work(&mut state, item) {
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
        drop(running);
        while watch.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            tick();
        }
    });
    tick();
}
