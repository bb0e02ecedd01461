use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Stands before PostgreSQL for one run, counts the protocol's messages over all connections, and strikes at one.
///
/// PostgreSQL documentation, "Message Formats"; without TLS.
pub(crate) struct Cutter {
    pub(crate) port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strike {
    /// The connection ends. The next one passes.
    Cut,
    /// All connections end, and there is no other.
    CutForGood,
    /// No message of this sender's passes any more.
    Hold,
}

/// The message that is struck: its number from 0 among those of its sender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) sender: Sender,
    pub(crate) message: usize,
    /// As much of it is delivered, but never all.
    pub(crate) bytes: usize,
    pub(crate) strike: Strike,
}

struct State {
    point: Option<Point>,
    /// Their first bytes, which say of what type they are.
    seen: [Mutex<Vec<u8>>; 2],
    struck: CancellationToken,
    gone: CancellationToken,
}

impl Cutter {
    pub(crate) async fn before(server_port: u16, point: Option<Point>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let state = Arc::new(State {
            point,
            seen: Default::default(),
            struck: CancellationToken::new(),
            gone: CancellationToken::new(),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shared.gone.is_cancelled() {
                    tokio::spawn(pass(client, server_port, shared.clone()));
                }
            }
        });
        Self { port, state, task }
    }

    /// Returns once it has struck.
    pub(crate) async fn struck(&self) {
        self.state.struck.cancelled().await;
    }

    /// The types of the messages of a sender, in order.
    pub(crate) fn seen(&self, sender: Sender) -> Vec<u8> {
        self.state.seen[sender as usize].lock().expect("not poisoned").clone()
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
        self.state.gone.cancel();
    }
}

async fn pass(client: TcpStream, server_port: u16, state: Arc<State>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Ends with the first of the two, and both sockets with it.
    tokio::select! {
        there = deliver(from_client, to_server, Sender::Client, &state) => there,
        back = deliver(from_server, to_client, Sender::Server, &state) => back,
        () = state.gone.cancelled() => Ok(()),
    }
}

async fn deliver(
    from: impl AsyncRead + Unpin,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    sender: Sender,
    state: &State,
) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    // The first of a client has no type.
    let mut has_type = sender == Sender::Server;
    loop {
        let message = read(&mut from, has_type).await?;
        has_type = true;
        match state.strikes(sender, message[0]) {
            None => to.write_all(&message).await?,
            Some(point) => {
                to.write_all(&message[..point.bytes.min(message.len() - 1)]).await?;
                state.struck.cancel();
                match point.strike {
                    Strike::Cut => return Ok(()),
                    Strike::CutForGood => state.gone.cancel(),
                    Strike::Hold => {}
                }
                return std::future::pending().await;
            }
        }
    }
}

impl State {
    fn strikes(&self, sender: Sender, first: u8) -> Option<Point> {
        let mut seen = self.seen[sender as usize].lock().expect("not poisoned");
        seen.push(first);
        self.point.filter(|point| point.sender == sender && point.message + 1 == seen.len())
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin), has_type: bool) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    if has_type {
        message.push(from.read_u8().await?);
    }
    let length = from.read_u32().await?;
    let head = message.len();
    message.extend(length.to_be_bytes());
    message.resize(head + usize::try_from(length).expect("short"), 0);
    from.read_exact(&mut message[head + 4..]).await?;
    Ok(message)
}
