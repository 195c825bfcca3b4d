-- KEYS: head, log, floors, generations, members.
-- ARGV: name, statement, position, the newest trimmed record known or -1, version of generations known or -1, page.
-- The hashes beside the head are counted in it, so that one which is lost is noticed.
redis.call('HSET', KEYS[5], ARGV[1], ARGV[2])
local time = redis.call('TIME')
local members = redis.call('HGETALL', KEYS[5])
local head = redis.call('HMGET', KEYS[1], 'number', 'random', 'last', 'trimmed', 'floors', 'version', 'generations')
for place = 1, 7 do
    if not head[place] then return {time[1], time[2], members, false, false, false, false, false} end
end
local last, trimmed = tonumber(head[3]), tonumber(head[4])
local whole = redis.call('HLEN', KEYS[2]) == last - trimmed
    and redis.call('HLEN', KEYS[3]) == tonumber(head[5])
    and redis.call('HLEN', KEYS[4]) == tonumber(head[7])
local position = tonumber(ARGV[3])
local first = math.max(position, trimmed) + 1
local records = {}
for number = first, math.min(last, first + tonumber(ARGV[6]) - 1) do
    local record = redis.call('HGET', KEYS[2], string.format('%d', number))
    if not record then
        whole = false
        break
    end
    records[#records + 1] = record
end
local floors, generations = {}, {}
if trimmed ~= tonumber(ARGV[4]) then floors = redis.call('HGETALL', KEYS[3]) end
if tonumber(head[6]) ~= tonumber(ARGV[5]) then generations = redis.call('HGETALL', KEYS[4]) end
return {
    time[1], time[2], members,
    {head[1], head[2], head[3], head[4], head[6], whole and '1' or '0'},
    {redis.call('HGET', KEYS[2], ARGV[3])},
    records, floors, generations
}
