// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Images.Tests.Qcow2;

/// <summary>An image of QEMU's in which single metadata fields are damaged, and the part of the disk that may suffer.</summary>
internal sealed class DamagedImage
{
    private const ulong OffsetMask = 0x00ff_ffff_ffff_fe00;
    private const ulong Copied = 1UL << 63;

    // Where tables are is asked of the sound image, so that a second damage does not follow the first into the data.
    private readonly byte[] _sound;
    private readonly int _clusterBits;
    private readonly int _entryBytes;
    private readonly long _sizeBytes;
    private readonly List<string> _story = [];

    public DamagedImage(byte[] image)
    {
        _sound = image;
        Bytes = (byte[])image.Clone();
        _clusterBits = (int)Word32(20);
        _sizeBytes = (long)Word(24);
        _entryBytes = (Word(72) & 16) != 0 ? 16 : 8;
    }

    public byte[] Bytes { get; }

    /// <summary>Ranges of the disk whose content the damaged fields led to.</summary>
    public List<BlockRange> Suffering { get; } = [];

    public string Story => string.Join("; ", _story);

    /// <summary>Damages a field.</summary>
    public void Damage(Seeds seeds)
    {
        switch (seeds.Next(4))
        {
            case 0:
                DamageL1(seeds);
                break;
            case 1:
                DamageRefcountTable(seeds);
                break;
            case 2:
                DamageRefcount(seeds);
                break;
            default:
                DamageL2(seeds);
                break;
        }
    }

    public bool Suffers(long offsetBytes) => Suffering.Exists(range => range.OffsetBytes <= offsetBytes && offsetBytes < range.EndBytes);

    private void DamageL1(Seeds seeds)
    {
        int index = seeds.Next((int)Word32(36));
        long tableBytes = (1L << _clusterBits) / _entryBytes << _clusterBits;
        Suffer(index * tableBytes, tableBytes);
        Change(seeds, $"L1 entry {index}", (int)Word(40) + (index * 8));
    }

    private void DamageL2(Seeds seeds)
    {
        int l1Entries = (int)Word32(36);
        int start = seeds.Next(l1Entries);
        for (int i = 0; i < l1Entries; i++)
        {
            int l1Index = (start + i) % l1Entries;
            long table = (long)(Word((int)Word(40) + (l1Index * 8)) & OffsetMask);
            if (table == 0 || table + (1 << _clusterBits) > Bytes.Length)
            {
                continue;
            }

            int entries = (1 << _clusterBits) / _entryBytes;
            int index = seeds.Next(entries);
            for (int tries = 0; tries < entries && Word((int)table + (index * _entryBytes)) == 0 && seeds.Chance(98); tries++)
            {
                index = (index + 1) % entries;
            }

            Suffer((((long)l1Index * entries) + index) << _clusterBits, 1 << _clusterBits);
            int half = _entryBytes == 16 && seeds.Chance(40) ? 8 : 0;
            Change(seeds, $"L2 entry {index} of table {l1Index}", (int)table + (index * _entryBytes) + half);
            return;
        }
    }

    private void DamageRefcountTable(Seeds seeds)
    {
        int used = 0;
        while (Word((int)Word(48) + (used * 8)) != 0)
        {
            used++;
        }

        int index = seeds.Next(used + 1);
        Change(seeds, $"refcount table entry {index}", (int)Word(48) + (index * 8));
    }

    // Some eight bytes of a block, which hold several refcounts.
    private void DamageRefcount(Seeds seeds)
    {
        long block = (long)(Word((int)Word(48)) & OffsetMask);
        int perWord = 64 >> (Word32(4) == 2 ? 4 : (int)Word32(96));
        int words = Math.Min((1 << _clusterBits) / 8, Math.Max(1, (Bytes.Length >> _clusterBits) / perWord));
        if (block == 0 || block + (1 << _clusterBits) > Bytes.Length)
        {
            return;
        }

        int at = (int)block + (seeds.Next(words) * 8);
        ulong value = Now(at);
        ulong changed = seeds.Pick(value ^ (1UL << seeds.Next(64)), 0UL, value + 0x0001_0000, value | 0x0001_0001_0001_0001);
        Put(at, changed, $"refcounts at {at}: 0x{value:x16} became 0x{changed:x16}");
    }

    private void Change(Seeds seeds, string what, int at)
    {
        ulong value = Now(at);
        ulong cluster = (ulong)seeds.Next(Bytes.Length >> _clusterBits) << _clusterBits;
        ulong changed = seeds.Next(7) switch
        {
            0 => 0,
            1 => cluster,
            2 => cluster | Copied,
            3 => (ulong)(Bytes.Length + (seeds.Next(64) << _clusterBits)) & OffsetMask,
            4 => seeds.NextBits(),
            _ => value ^ (1UL << seeds.Next(64)),
        };
        Put(at, changed, $"{what} at {at}: 0x{value:x16} became 0x{changed:x16}");
    }

    private void Put(int at, ulong value, string story)
    {
        BinaryPrimitives.WriteUInt64BigEndian(Bytes.AsSpan(at), value);
        _story.Add(story);
    }

    private void Suffer(long offsetBytes, long lengthBytes) =>
        Suffering.Add(BlockRange.FromEnds(offsetBytes, Math.Max(offsetBytes, Math.Min(_sizeBytes, offsetBytes + lengthBytes))));

    private ulong Word(int at) => at + 8 <= _sound.Length ? BinaryPrimitives.ReadUInt64BigEndian(_sound.AsSpan(at)) : 0;

    private uint Word32(int at) => BinaryPrimitives.ReadUInt32BigEndian(_sound.AsSpan(at));

    private ulong Now(int at) => BinaryPrimitives.ReadUInt64BigEndian(Bytes.AsSpan(at));
}
