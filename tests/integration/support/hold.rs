use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Stands before a server, and lets through what it is told to.
pub(crate) struct Hold {
    pub(crate) port: u16,
    way: watch::Sender<Way>,
    held: Arc<AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Everything.
    Open,
    /// No request: it waits here.
    NoRequest,
    /// Requests, and no answer.
    NoAnswer,
    /// Nothing; connections end.
    Away,
}

impl Hold {
    pub(crate) async fn before(server_port: u16, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let hold = Self { port, way: watch::Sender::new(way), held: Arc::default() };
        let (way, held) = (hold.way.subscribe(), hold.held.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (way, held) = (way.clone(), held.clone());
                tokio::spawn(async move { pass(client, server_port, way, held).await.ok() });
            }
        });
        hold
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Waits until something is held.
    pub(crate) async fn holds(&self) {
        for _ in 0..600 {
            if self.held.load(Ordering::SeqCst) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nothing came by");
    }
}

async fn pass(client: TcpStream, port: u16, way: watch::Receiver<Way>, held: Arc<AtomicUsize>) -> std::io::Result<()> {
    if *way.borrow() == Way::Away {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (client, server) = (client.into_split(), server.into_split());
    let mut told = way.clone();
    let gone = async {
        // An error means that the test is over.
        let _ = told.wait_for(|way| *way == Way::Away).await;
        Ok(())
    };
    tokio::select! {
        ended = copy(client.0, server.1, way.clone(), Way::NoRequest, held.clone()) => ended,
        ended = copy(server.0, client.1, way, Way::NoAnswer, held) => ended,
        ended = gone => ended,
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
    held_by: Way,
    held: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        if *way.borrow() == held_by {
            held.fetch_add(1, Ordering::SeqCst);
            if way.wait_for(|way| *way != held_by).await.is_err() {
                return Ok(());
            }
        }
        to.write_all(&bytes[..count]).await?;
    }
}
