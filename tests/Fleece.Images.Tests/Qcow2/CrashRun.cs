// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>
/// Crashes an image and judges it: the values each byte may have are those it had at the last guest flush or got since.
/// </summary>
internal sealed class CrashRun(
    byte[] content,
    MemoryContainer container,
    Seeds seeds,
    Action<byte[], string> checkWithQemu,
    Qcow2Attachments? attachments = null)
{
    private readonly ByteSets _now = new(content);
    private readonly ByteSets _possible = new(content);

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

        byte[] read = new byte[content.Length];
        ImageNode node = Qcow2Map.Open(new MemoryContainer(image, isReadOnly: true), attachments);
        node.Read(0, read);
        for (int i = 0; i < read.Length; i++)
        {
            if (!_possible.Contains(i, read[i]))
            {
                Assert.Fail(
                    $"byte {i} is {read[i]:x2}, unlike at the last flush and since; {context}, seed {seeds.Seed}");
            }
        }
    }
}

/// <summary>For each byte of a disk, a set of values: 256 bits.</summary>
internal sealed class ByteSets
{
    private const int WordsPerByte = 4;

    private readonly ulong[] _words;

    public ByteSets(byte[] content)
    {
        _words = new ulong[content.Length * WordsPerByte];
        for (int i = 0; i < content.Length; i++)
        {
            Add(i, content[i]);
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
