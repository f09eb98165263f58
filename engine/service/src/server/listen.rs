//! Connections, and the end of a server.

use super::Limits;
use super::addresses::Addresses;
use super::app::App;
use super::error::ServiceError;
use super::keys::forget;
use super::linger::Linger;
use super::routes::router;
use super::tls::Tls;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// Most bytes of the headers of a request.
const MAX_HEADERS: usize = 16 << 10;
/// Time between two looks for what has expired.
const SWEEP: Duration = Duration::from_secs(600);
/// Pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks a server to stop. Clones ask the same one.
#[derive(Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// A request that nobody has made yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks the server to finish what it has accepted, and to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    tls: &Tls,
    stop: &Stop,
) -> Result<(), ServiceError> {
    listener.set_nonblocking(true).map_err(ServiceError::Listen)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(ServiceError::Listen)?;
    let mut stopped = stop.0.subscribe();
    let sweeper = tokio::spawn(sweep(app.clone()));
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(app.limits.connections));
    let addresses = Addresses::new(app.limits.connections);
    let acceptor = TlsAcceptor::from(tls.config.clone());
    let service = TowerToHyperService::new(router(app.clone()));
    loop {
        let accepted = tokio::select! {
            _ = stopped.wait_for(|&stop| stop) => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = addresses.enter(address) else { continue };
        let connection = Connection {
            app: app.clone(),
            acceptor: acceptor.clone(),
            service: service.clone(),
            watcher: graceful.watcher(),
        };
        tokio::spawn(async move {
            connection.serve(stream).await;
            drop((place, permit));
        });
    }
    tracing::info!("stopping: no more requests are accepted");
    app.stopping.store(true, Ordering::Relaxed);
    drop(listener);
    finish(app, graceful).await;
    sweeper.abort();
    Ok(())
}

/// Finishes the work that was accepted, and sends its results.
async fn finish(app: Arc<App>, graceful: GracefulShutdown) {
    let Limits { grace, idle, .. } = app.limits;
    let mut closed = pin!(graceful.shutdown());
    let early = timeout(grace, &mut closed).await.is_ok();
    // Work whose client has gone is finished, too.
    let finish = app.clone();
    let _ = tokio::task::spawn_blocking(move || finish.scheduler.stop()).await;
    app.running.finished().await;
    if !early && timeout(idle, closed).await.is_err() {
        tracing::warn!("connections are still open, and are broken off");
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &tokio::net::TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address.ip(), permit))
}

struct Connection {
    app: Arc<App>,
    acceptor: TlsAcceptor,
    service: TowerToHyperService<axum::Router>,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let idle = self.app.limits.idle;
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        // Receivers that take nothing; senders have the timeouts of headers and bodies.
        stream.set_write_timeout(Some(idle));
        let Ok(Ok(stream)) = timeout(idle, self.acceptor.accept(Linger::new(stream, idle))).await else {
            return;
        };
        self.app.metrics.connections.inc();
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(idle).max_header_size(MAX_HEADERS);
        let connection = builder.serve_connection(TokioIo::new(stream), self.service);
        if let Err(error) = self.watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended early");
        }
        self.app.metrics.connections.dec();
    }
}

/// Deletes what has expired, now and then.
async fn sweep(app: Arc<App>) {
    loop {
        let swept = app.clone();
        let _ = tokio::task::spawn_blocking(move || sweep_once(&swept)).await;
        sleep(SWEEP).await;
    }
}

fn sweep_once(app: &App) {
    let limits = &app.limits;
    if let Err(error) = app.results.sweep() {
        tracing::warn!(%error, "old results cannot be deleted");
    }
    // Failures are in the log already.
    for name in app.store.expired(limits.keys_age, limits.upload_age) {
        let _ = forget(app, &name);
    }
}
