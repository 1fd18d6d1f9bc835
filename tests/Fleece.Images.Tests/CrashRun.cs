// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>
/// Crashes an image and judges it: the values each byte may have are those it had at the last guest flush or got since.
/// </summary>
internal sealed class CrashRun(
    int sizeBytes, MemoryContainer container, Seeds seeds, Action<byte[], string> checkWithQemu)
{
    private readonly ByteSets _now = new(sizeBytes);
    private readonly ByteSets _possible = new(sizeBytes);

    public void Writing(long offsetBytes, byte[] data)
    {
        for (int i = 0; i < data.Length; i++)
        {
            _now.SetOnly((int)offsetBytes + i, data[i]);
            _possible.Add((int)offsetBytes + i, data[i]);
        }
    }

    // Parts of clusters keep their bytes, so zero is one more value and not the only one.
    public void Discarding(BlockRange range)
    {
        for (long i = range.OffsetBytes; i < range.EndBytes; i++)
        {
            _now.Add((int)i, 0);
            _possible.Add((int)i, 0);
        }
    }

    public void Flushed() => _possible.CopyFrom(_now);

    public void OnFlush()
    {
        if (seeds.Chance(50))
        {
            Check("inside a write-back");
        }
    }

    public void Check(string context)
    {
        int percent = seeds.Pick(0, 30, 70, 100);
        byte[] image = container.Crash(() => seeds.Chance(percent));
        ImageAudit.LeaksAtMost(image, $"{context}, seed {seeds.Seed}");
        if (seeds.Chance(3))
        {
            checkWithQemu(image, $"{context}, seed {seeds.Seed}");
        }

        byte[] content = new byte[sizeBytes];
        Qcow2Node node = Qcow2Node.Open(new MemoryContainer(image, isReadOnly: true));
        ValueTask read = node.ReadAsync(0, content, CancellationToken.None);
        Assert.True(read.IsCompletedSuccessfully);
        for (int i = 0; i < sizeBytes; i++)
        {
            if (!_possible.Contains(i, content[i]))
            {
                Assert.Fail($"byte {i} is {content[i]:x2}, unlike at the last flush and since; {context}");
            }
        }
    }
}

/// <summary>For each byte of a disk, a set of values: 256 bits.</summary>
internal sealed class ByteSets
{
    private const int WordsPerByte = 4;

    private readonly ulong[] _words;

    public ByteSets(int count)
    {
        _words = new ulong[count * WordsPerByte];
        for (int i = 0; i < count; i++)
        {
            Add(i, 0);
        }
    }

    public void Add(int index, byte value) => _words[(index * WordsPerByte) + (value >> 6)] |= 1UL << (value & 63);

    public bool Contains(int index, byte value) =>
        (_words[(index * WordsPerByte) + (value >> 6)] & (1UL << (value & 63))) != 0;

    public void SetOnly(int index, byte value)
    {
        _words.AsSpan(index * WordsPerByte, WordsPerByte).Clear();
        Add(index, value);
    }

    public void CopyFrom(ByteSets other) => other._words.CopyTo(_words, 0);
}
