//! Waiting for a moment, to some tens of microseconds.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    time::Instant,
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};
use tokio::io::unix::AsyncFd;

use super::pump::Next;

/// A timer that is not rounded to milliseconds as the runtime's is.
#[derive(Default)]
pub(super) struct Timer {
    /// Made when it is first needed: a proxy without delay needs none.
    fd: Option<AsyncFd<Fd>>,
}

struct Fd(TimerFd);

// === impl Timer ===

impl Timer {
    /// Returns at or after the moment, if it is one that is waited for.
    pub(super) async fn until(&mut self, next: &Next) {
        let Next::At(due) = *next else { return };
        if self.precisely(due).await.is_err() {
            tokio::time::sleep_until(due.into()).await;
        }
    }

    async fn precisely(&mut self, due: Instant) -> io::Result<()> {
        let fd = match &mut self.fd {
            Some(fd) => fd,
            none => none.insert(Fd::register()?),
        };
        // More than once only if an earlier wait was abandoned after its timer had fired.
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
            fd.get_ref().0.set(expiration, TimerSetTimeFlags::empty())?;
            fd.readable().await?.clear_ready();
        }
        Ok(())
    }
}

// === impl Fd ===

impl Fd {
    #[expect(
        deprecated,
        reason = "it asks for a descriptor that is open and the same until it is dropped, which \
                  this one is; the replacement is unsafe"
    )]
    fn register() -> io::Result<AsyncFd<Self>> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        AsyncFd::new(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
