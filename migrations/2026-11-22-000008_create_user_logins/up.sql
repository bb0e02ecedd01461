-- What analysts of the original pipeline know, as a view: the table behind it can then be re-tokenised under them.
CREATE VIEW pii_vault.user_logins AS
SELECT
    user_id,
    device_type,
    ip_token_a AS masked_ip,
    device_id_token_a AS masked_device_id,
    locale,
    app_version,
    create_date,
    event_id
FROM pii_vault.login_events;

COMMENT ON VIEW pii_vault.user_logins IS 'Logins for analysis. Equal masked values are equal originals';
COMMENT ON COLUMN pii_vault.user_logins.masked_ip IS 'Keyed token of the ip; 1.2.3.4 and ::ffff:1.2.3.4 have the same';
COMMENT ON COLUMN pii_vault.user_logins.masked_device_id IS 'Keyed token of the device id';
COMMENT ON COLUMN pii_vault.user_logins.create_date IS 'UTC day on which the message was sent';

GRANT SELECT ON pii_vault.user_logins TO pii_vault_analyst;

-- The owner of the view needs no right in schema public: the administrator, who has CREATE there, moves it.
SET LOCAL ROLE NONE;
ALTER VIEW pii_vault.user_logins SET SCHEMA public;
SET LOCAL ROLE pii_vault_owner;
