-- The shop's own tables. Millrace's live beside them, in the schema millrace.
create schema shop;

create table shop.orders (
  id int generated always as identity primary key,
  customer text not null,
  lines jsonb not null, -- [{sku, quantity, priceCents}]
  total_cents int not null,
  status text not null default 'new' check (status in ('new', 'fulfilled')),
  placed_at timestamptz not null default now(),
  fulfilled_at timestamptz
);

create table shop.stock (
  sku text primary key,
  available int not null
);
insert into shop.stock values ('mug', 1000000), ('tea', 1000000), ('kettle', 1000000);

-- Which orders have their stock reserved: the key makes a repeated delivery of the job harmless.
create table shop.reservation (
  order_id int primary key references shop.orders
);

-- Webhooks heard so far: the key makes a repeated delivery harmless.
create table shop.webhook (
  id text primary key,
  order_id int not null,
  received_at timestamptz not null default now()
);
