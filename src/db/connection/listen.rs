use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use futures_util::{StreamExt as _, future};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::AsyncMessage;

use super::{ConnectError, Server};

/// Between two tries to connect again.
const PAUSE: Duration = Duration::from_secs(1);

/// Hears of notifications on a channel. Any login can send one, and one can be lost: it is a reason to look, no more.
#[derive(Debug)]
pub struct Listener {
    heard: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `channel`, an SQL name, over a connection of its own, which is made again whenever it is lost.
    #[must_use]
    pub fn listen(&self, channel: &'static str) -> Listener {
        let (server, heard) = (self.clone(), Arc::new(Notify::new()));
        let notify = heard.clone();
        let task = tokio::spawn(async move {
            loop {
                // Why there is no connection is told by who waits for one; here there is another way.
                if let Err(error) = server.hear(channel, &notify).await {
                    tracing::debug!(%error, channel, "not listening");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Listener { heard, task }
    }

    /// Returns when the connection is lost.
    async fn hear(&self, channel: &str, heard: &Notify) -> Result<(), ConnectError> {
        let config = self.0.login.complete(&self.0.config, false).await?;
        let connected = tokio::time::timeout(super::CONNECT_TIMEOUT, config.connect(self.0.connector.clone())).await;
        let unreachable = |_| ConnectError::Unreachable { at: super::address(&config), cause: "timed out".to_owned() };
        let broken = |error: tokio_postgres::Error| ConnectError::of(&error, super::address(&config));
        let (client, mut driver) = connected.map_err(unreachable)?.map_err(broken)?;
        let messages = stream::poll_fn(move |context| driver.poll_message(context));
        let listening = async {
            client.batch_execute(&format!("LISTEN {channel}")).await.map_err(broken)?;
            // What was sent before is not heard of.
            heard.notify_one();
            future::pending().await
        };
        let hearing = messages.take_while(|message| future::ready(message.is_ok())).for_each(|message| {
            if matches!(message, Ok(AsyncMessage::Notification(_))) {
                heard.notify_one();
            }
            future::ready(())
        });
        tokio::select! {
            failed = listening => failed,
            () = hearing => Ok(()),
        }
    }
}

impl Listener {
    /// Returns when there was a notification since the last time, or there may have been one. Several count as one.
    pub async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
