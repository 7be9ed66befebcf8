-- Closes attempts of webhook deliveries as close does, and in the same transaction puts each on the log of deliveries and minds
-- its endpoint: one that answered 410, or to which nothing has got through for endpoint_disable_seconds, is disabled.
--
-- reports: a JSON array with, for each attempt, null or {endpoint, message, event, about?, status?, code?, latency_ms?, response?};
-- without latency_ms nothing was sent, which says nothing of the endpoint. Answers what close does, and beside an attempt that
-- made its endpoint be disabled the reason.
create function millrace.deliver(segments bigint[], ids bigint[], attempts int[], outcomes text[], details jsonb, reports jsonb)
returns table (nth bigint, state "char", fresh boolean, result text, disabled text) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set lock_timeout = '2s' as $$
#variable_conflict use_column
declare
  answers jsonb := (select coalesce(jsonb_agg(to_jsonb(c)), '[]') from millrace.close(segments, ids, attempts, outcomes, details) c);
  ends jsonb; -- of the attempts that have a report
  reasons jsonb;
begin
  select coalesce(jsonb_agg(jsonb_build_object('job', u.id, 'attempt', u.attempt) || r.report
    || jsonb_build_object('state', case when a.nth is null then 'c' else a.state end, 'fresh', coalesce(a.fresh, true)) order by u.nth), '[]')
  into ends
  from unnest(ids, attempts) with ordinality u(id, attempt, nth)
  cross join lateral (select reports -> (u.nth - 1)::int as report) r
  left join jsonb_to_recordset(answers) a(nth bigint, state text, fresh boolean) on a.nth = u.nth
  where jsonb_typeof(r.report) = 'object' and (a.nth is null or a.state is not null);
  perform millrace.log_deliveries(ends);
  reasons := millrace.mind_endpoints(ends);
  return query
  select a.nth, a.state, a.fresh, a.result, case when a.fresh and a.state in ('f', 'r') then reasons ->> (reports -> (a.nth - 1)::int ->> 'endpoint') end
  from jsonb_to_recordset(answers) a(nth bigint, state "char", fresh boolean, result text);
end $$;

-- When a delivery is tried again: soon at first, and for four days in all, so that an endpoint may be away for a weekend.
create function millrace.webhook_retries() returns jsonb language sql immutable as $$
  select '{"strategy": "list", "delays_seconds": [5, 60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]}'::jsonb
$$;

-- What somebody else has closed meanwhile was an attempt all the same, what was put off without being sent is none; and a call
-- that is repeated logs nothing twice.
create function millrace.log_deliveries(ends jsonb) returns void language sql as $$
  insert into millrace.delivery (job, attempt, endpoint, message, event, about, state, status, code, latency_ms, response)
  select e.job, e.attempt, e.endpoint, e.message, e.event, e.about, e.state, e.status, left(e.code, 100), e.latency_ms, left(e.response, 1000)
  from jsonb_to_recordset(ends) e(job bigint, attempt int, endpoint text, message text, event text, about bigint, state "char", fresh boolean,
    status int, code text, latency_ms int, response text)
  where (e.latency_ms is not null or e.state <> 's')
    and (e.fresh or not exists (select from millrace.delivery d where d.job = e.job and d.attempt = e.attempt))
$$;

-- Attempts that rescue has closed: their dispatcher died before it could tell.
create function millrace.log_lost_deliveries(segments bigint[], ids bigint[], attempts int[]) returns void language sql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
  insert into millrace.delivery (job, attempt, endpoint, message, event, about, state, code)
  select j.id, j.attempt, j.payload ->> 'endpoint', coalesce(j.payload ->> 'message', 'msg_' || j.id), j.payload #>> '{event,type}',
    (j.payload #>> '{event,data,job_id}')::bigint, o.state, o.error ->> 'code'
  from unnest(segments, ids, attempts) u(segment, id, attempt)
  join millrace.job_log j on j.slot = (u.segment % 8)::smallint and j.id = u.id and j.attempt = u.attempt
  join millrace.outcome_log o on o.slot = j.slot and o.id = j.id and o.attempt = j.attempt
  where j.kind = 'millrace' || '.webhook' and o.state in ('f', 'r')
    and not exists (select from millrace.delivery d where d.job = j.id and d.attempt = j.attempt)
$$;

-- Notes how endpoints fare: writes only when that changes. Answers which are disabled from now on, and why: {name: reason}.
create function millrace.mind_endpoints(ends jsonb) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  patience constant interval := make_interval(secs => (select value from millrace.setting where name = 'endpoint_disable_seconds'));
  reasons jsonb;
begin
  with told as (
    select endpoint, bool_or(state = 'c') as good, bool_or(state in ('f', 'r')) as bad, bool_or(state = 'f' and status = 410) as gone
    from jsonb_to_recordset(ends) d(endpoint text, state text, fresh boolean, status int, latency_ms int)
    where fresh and latency_ms is not null group by endpoint
  ), locked as ( -- in one order for all
    select e.name, t.*, case when t.gone then 'gone' when t.bad and not t.good and e.failing_since <= now() - patience then 'failing' end as reason
    from told t join millrace.endpoint e on e.name = t.endpoint
    where (t.good and e.failing_since is not null) or (t.bad and not t.good and e.failing_since is null)
      or (e.disabled_at is null and (t.gone or (t.bad and not t.good and e.failing_since <= now() - patience)))
    order by e.name for update of e
  ), minded as (
    update millrace.endpoint e set failing_since = case when l.bad and not l.good then coalesce(e.failing_since, now()) end,
      disabled_at = coalesce(e.disabled_at, case when l.reason is not null then now() end),
      disabled_reason = coalesce(e.disabled_reason, l.reason)
    from locked l where e.name = l.name
    returning e.name, case when e.disabled_at = now() then l.reason end as reason
  )
  select jsonb_object_agg(name, reason) filter (where reason is not null) into reasons from minded;
  if reasons is not null then
    perform pg_notify('millrace_wake', 'manifest');
  end if;
  return coalesce(reasons, '{}');
end $$;

-- The log of deliveries, newest first: {items, cursor}. filter: {endpoint?, tenant?, job? (the delivery's), about? (the job that it
-- tells of), state?: delivered, retrying, put_back, failed or cancelled, since?, until?}. A tenant's is what is of its endpoints, not
-- of others that had their names before. A call looks at no more than 20,000
-- rows, so a page may be short, or empty, and carries a cursor all the same: microseconds since 1970 and an id.
create function millrace.list_deliveries(filter jsonb default '{}', cursor text default null, max_deliveries int default null) returns jsonb
language plpgsql stable set jit = off set plan_cache_mode = force_custom_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  looks int := 20000;
  most int := least(coalesce(max_deliveries, 100), 1000);
  of_endpoint text := filter ->> 'endpoint';
  of_state "char" := (select l.letter from millrace.delivery_states() l where l.state = filter ->> 'state');
  of_job bigint;
  of_about bigint;
  since timestamptz;
  before timestamptz;
  before_id bigint := 0;
  items jsonb[] := '{}';
  d record;
begin
  perform millrace.check_keys(filter, array['endpoint', 'tenant', 'job', 'about', 'state', 'since', 'until']);
  if cursor !~ '^\d{1,18}\.\d{1,18}$' or most < 1 or filter ->> 'job' !~ '^\d{1,18}$' or filter ->> 'about' !~ '^\d{1,18}$'
    or (filter ->> 'state' is not null and of_state is null) then
    perform millrace.refuse_request('a cursor is what the page before answered, a limit at least 1, a job a number, a state one of a delivery');
  end if;
  begin
    since := coalesce((filter ->> 'since')::timestamptz, '-infinity');
    before := coalesce((filter ->> 'until')::timestamptz, 'infinity');
  exception when data_exception then
    perform millrace.refuse_request('filters since and until are times');
  end;
  of_job := filter ->> 'job';
  of_about := filter ->> 'about';
  if cursor is not null then
    before := timestamptz 'epoch' + split_part(cursor, '.', 1)::bigint * interval '1 microsecond';
    before_id := split_part(cursor, '.', 2);
  end if;
  for d in
    select x::millrace.delivery as x, (filter ->> 'tenant' is null or exists (select from millrace.endpoint e where e.name = x.endpoint and e.tenant = filter ->> 'tenant' and e.created_at <= x.at
        and x.code is distinct from 'no_endpoint'))
      and (of_state is null or x.state = of_state) and (of_endpoint is null or x.endpoint = of_endpoint)
      and (of_about is null or x.about = of_about) as fits
    from (
      (select * from millrace.delivery x where of_job is null and of_about is null and of_endpoint is null
         and x.at >= since and (x.at, x.id) < (before, before_id) order by x.at desc, x.id desc limit looks)
      union all
      (select * from millrace.delivery x where of_job is null and of_about is null and of_state is null and x.endpoint = of_endpoint
         and x.at >= since and (x.at, x.id) < (before, before_id) order by x.at desc, x.id desc limit looks)
      union all
      (select * from millrace.delivery x where of_job is null and of_about is null and x.endpoint = of_endpoint and x.state = of_state
         and x.at >= since and (x.at, x.id) < (before, before_id) order by x.at desc, x.id desc limit looks)
      union all
      select * from millrace.delivery x where x.job = of_job and x.at >= since and (x.at, x.id) < (before, before_id)
      union all
      select * from millrace.delivery x where of_job is null and x.about = of_about and x.at >= since and (x.at, x.id) < (before, before_id)
    ) x
    order by x.at desc, x.id desc
  loop
    looks := looks - 1;
    if d.fits then
      items := items || millrace.delivery_row(d.x);
    end if;
    if looks = 0 or cardinality(items) = most then
      return jsonb_build_object('items', to_jsonb(items), 'cursor', (extract(epoch from (d.x).at) * 1000000)::bigint || '.' || (d.x).id);
    end if;
  end loop;
  return jsonb_build_object('items', to_jsonb(items), 'cursor', null);
end $$;

create function millrace.delivery_states() returns table (letter "char", state text) language sql immutable as $$
  values ('c'::"char", 'delivered'), ('r', 'retrying'), ('s', 'put_back'), ('f', 'failed'), ('x', 'cancelled')
$$;

create function millrace.delivery_row(d millrace.delivery) returns jsonb language sql immutable as $$
  select to_jsonb(d) || jsonb_build_object('state', (select l.state from millrace.delivery_states() l where l.letter = d.state))
$$;

-- Forgets deliveries whose retention is over, and secrets that sign no more.
create function millrace.expire_deliveries(max_rows int) returns void language plpgsql as $$
declare
  over constant timestamptz := millrace.deliveries_kept_from();
begin
  delete from millrace.endpoint_secret where expires_at <= now();
  for pass in 1..20 loop
    delete from millrace.delivery where ctid = any (array(
      select d.ctid from millrace.delivery d where d.at <= over order by d.at limit max_rows for update skip locked));
    exit when not found;
  end loop;
end $$;
