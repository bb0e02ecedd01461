use tokio_postgres::Client;

/// The SQLSTATE with which PostgreSQL refuses `sql`, or `None` where it does not.
pub(crate) async fn sqlstate(client: &Client, sql: &str) -> Option<String> {
    client.batch_execute(sql).await.err().map(|error| error.code().expect("refused by the server").code().to_owned())
}
