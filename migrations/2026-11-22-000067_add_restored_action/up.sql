-- Alone: a word that was just added cannot be used in the same transaction.
ALTER TYPE pii_vault.audit_action ADD VALUE 'restored';
COMMENT ON TYPE pii_vault.audit_action IS
    'init: the schema was made or brought up to date; policy: what may be opened was set; '
    'access_request, access_approval, access_denial, access_revocation: of a grant; '
    'unmask: a receipt, or its refusal; unmask_dry_run: what one would hold; unmask_page: what became of its rows; '
    'lookup: that values are to be turned into tokens; lookup_tokens: into which; '
    'redrive: that dead letters are to be opened; redrive_page: what became of them; '
    'restored: that an older state of the database was brought back into service';
