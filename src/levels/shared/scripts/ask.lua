-- KEYS: entry, claim. ARGV: whether to claim (0: never, 1: if there is no entry, 2: always), holder, milliseconds, the most
-- bytes of an entry.
-- Returns the entry or false, and 0: unclaimed, 1: claimed by this holder, 2: held by another one. No gateway writes a
-- longer entry or a value of another type, so the former is cut off before it is sent, and the latter is no entry.
local entry = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[4])
if type(entry) == 'table' then
    if not string.find(entry.err, 'WRONGTYPE', 1, true) then return entry end
    entry = false
elseif entry == '' then
    entry = false
end
if ARGV[1] == '0' or (ARGV[1] == '1' and entry) then
    return {entry, 0}
end
if redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3], 'NX') then
    return {entry, 1}
end
return {entry, 2}
