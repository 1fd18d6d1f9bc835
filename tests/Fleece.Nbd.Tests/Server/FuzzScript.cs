// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>All that one client of the fuzzer sends: mostly right, so that it gets far, with something wrong here and there.</summary>
internal sealed class FuzzScript(Seeds seeds, int diskBytes)
{
    private readonly Packet _script = new();

    public byte[] Make()
    {
        _script.U32(seeds.Chance(95) ? seeds.Pick(3u, 1u, 2u, 0u) : (uint)seeds.NextBits());
        HeaderMode mode = seeds.Pick(HeaderMode.Simple, HeaderMode.Structured, HeaderMode.Extended);
        AddOptions(mode);
        for (int rest = seeds.Next(60); rest > 0; rest--)
        {
            AddRequest(mode);
        }

        byte[] script = _script.ToArray();
        return seeds.Chance(40) ? Mutate(script) : script;
    }

    private void AddOptions(HeaderMode mode)
    {
        AddOdds();
        if (mode != HeaderMode.Simple)
        {
            _script.Raw(Packet.Option(mode == HeaderMode.Extended ? 11u : 8u));
        }

        AddOdds();
        if (seeds.Chance(80))
        {
            _script.Raw(Packet.Option(10, Packet.Contexts("vm", seeds.Pick("base:", "x:y"), "base:allocation")));
        }

        AddOdds();
        _script.Raw(seeds.Chance(85)
            ? Packet.Option(7, Packet.Wish(seeds.Chance(50) ? "vm" : string.Empty, 3))
            : Packet.Option(1, "vm"u8));
    }

    // Options that change nothing, or are wrong.
    private void AddOdds()
    {
        for (int rest = seeds.Next(4); rest > 0; rest--)
        {
            _script.Raw(seeds.Next(14) switch
            {
                0 => Packet.Option(3),
                1 => Packet.Option(5),
                2 => Packet.Option(6, Packet.Wish("vm", 0, 1, 2, 3)),
                3 => Packet.Option(9, Packet.Contexts("vm")),
                4 => Packet.Option((uint)seeds.Next(14), seeds.Bytes(seeds.Next(50))),
                5 => Packet.Option((uint)seeds.NextBits(), seeds.Bytes(seeds.Next(50))),
                6 => Packet.Option(7, Packet.Wish("other")),
                7 => Packet.Option(10, Mutate(Packet.Contexts("vm", "base:allocation"))),
                8 => Packet.Option(7, new Packet().U32((uint)seeds.Pick(4095, 4096, 4097)).Raw(new byte[4200]).ToArray()),
                9 => seeds.Chance(10) ? Packet.Option(6, new byte[seeds.Pick(128 * 1024, 128 * 1024 + 1)]) : [],
                10 => Packet.Option(6, Mutate(Packet.Wish("vm", 3))),
                11 => seeds.Chance(5) ? Packet.Option(2) : [],
                12 => Packet.Option(9, Packet.Contexts(string.Empty, "base:", seeds.Pick("\u20ac", "fleece:identity:"))),
                _ => Packet.Option(8),
            });
        }
    }

    private void AddRequest(HeaderMode mode)
    {
        ulong offset = (ulong)seeds.Next(diskBytes);
        ulong length = seeds.Pick<ulong>(512, 4096, 65536, (ulong)seeds.Next(diskBytes), 0, (ulong)diskBytes - offset);
        if (seeds.Chance(15))
        {
            offset = seeds.Pick<ulong>(0, (ulong)diskBytes, ulong.MaxValue, 1UL << 63, seeds.NextBits());
        }

        int flags = seeds.Chance(25) ? 1 << seeds.Next(6) : seeds.Chance(3) ? (ushort)seeds.NextBits() : 0;
        int command = seeds.Chance(97) ? seeds.Pick(0, 0, 1, 1, 3, 4, 5, 6, 7, 7) : seeds.Pick(2, 8, 0xFFFF);
        ulong cookie = seeds.Chance(50) ? seeds.NextBits() : 7;
        bool hasPayload = command == (int)NbdCommand.Write || (mode == HeaderMode.Extended && (flags & 0x20) != 0);
        if (command == (int)NbdCommand.Flush && seeds.Chance(80))
        {
            (offset, length) = (0, hasPayload ? length : 0);
        }

        if (command == (int)NbdCommand.BlockStatus && hasPayload && seeds.Chance(80))
        {
            Packet payload = new Packet().U64(length);
            for (int rest = seeds.Next(4); rest > 0; rest--)
            {
                payload.U32(seeds.Chance(80) ? 1u : (uint)seeds.Next(5));
            }

            byte[] bytes = payload.ToArray();
            _script.Raw(Packet.Request(mode, command, cookie, offset, (ulong)bytes.Length, flags)).Raw(bytes);
        }
        else if (!hasPayload && seeds.Chance(5))
        {
            length = seeds.Pick<ulong>(33UL << 20, uint.MaxValue, seeds.NextBits());
            _script.Raw(Packet.Request(mode, command, cookie, offset, length, flags));
        }
        else
        {
            _script.Raw(Packet.Request(mode, command, cookie, offset, length, flags)).Raw(hasPayload ? seeds.Bytes((long)length) : []);
        }
    }

    // Something is overwritten, lost, cut off, doubled or put in between.
    private byte[] Mutate(byte[] bytes)
    {
        List<byte> mutated = [.. bytes];
        for (int rest = 1 + seeds.Next(3); rest > 0 && mutated.Count != 0; rest--)
        {
            int at = seeds.Next(Math.Min(mutated.Count, seeds.Pick(100, 300, 2000, int.MaxValue)));
            int length = Math.Min(mutated.Count - at, 1 + seeds.Next(40));
            switch (seeds.Next(5))
            {
                case 0:
                    mutated[at] = seeds.Pick<byte>(0, 1, 0xFF, (byte)seeds.NextBits());
                    break;
                case 1:
                    mutated.RemoveRange(at, length);
                    break;
                case 2:
                    mutated.RemoveRange(at, mutated.Count - at);
                    break;
                case 3:
                    mutated.InsertRange(at, mutated.GetRange(at, length));
                    break;
                default:
                    mutated.InsertRange(at, seeds.Bytes(length));
                    break;
            }
        }

        return [.. mutated];
    }
}
