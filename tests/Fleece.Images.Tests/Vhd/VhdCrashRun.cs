// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>
/// Crashes an image and judges it: it opens, for writing too, its check finds leaks at most, and the values each byte may have are
/// those it had at the last guest flush or got since.
/// </summary>
internal sealed class VhdCrashRun(MemoryContainer container, byte[] first, byte[]? parent, Seeds seeds)
{
    private readonly byte[]? _parentContent = parent is null ? null : new VhdReader(parent).Read();
    private readonly ByteSets _now = new ByteSets(first);
    private readonly ByteSets _possible = new ByteSets(first);

    public void Writing(long offsetBytes, byte[] data)
    {
        for (int i = 0; i < data.Length; i++)
        {
            _now.SetOnly((int)offsetBytes + i, data[i]);
            _possible.Add((int)offsetBytes + i, data[i]);
        }
    }

    // What the parent holds and parts of sectors keep their bytes, so zero is one more value and not the only one.
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
            Check("before a flush");
        }
    }

    /// <summary>Judges what a crash now would leave.</summary>
    /// <returns>The image it would leave.</returns>
    public byte[] Check(string context)
    {
        int percent = seeds.Pick(0, 30, 70, 100);
        byte[] image = container.Crash(() => seeds.Chance(percent));
        VhdReader reader = new(image, _parentContent);
        reader.Audit($"{context}, seed {seeds.Seed}");
        ImageReport report = new VhdDriver().Check(
            new MemoryContainer(image, isReadOnly: true), ImageRepair.None, CancellationToken.None);
        Assert.True(report.CorruptionCount == 0, $"{context}: {string.Join('\n', report.Findings)}");
        ImageNode node = VhdImages.Open(new MemoryContainer(image), parent);
        byte[] content = new byte[first.Length];
        node.Read(0, content);
        Assert.True(content.AsSpan().SequenceEqual(reader.Read()), $"the second reader reads something else; {context}");
        for (int i = 0; i < content.Length; i++)
        {
            if (!_possible.Contains(i, content[i]))
            {
                Assert.Fail($"byte {i} is {content[i]:x2}, unlike at the last flush and since; {context}");
            }
        }

        return image;
    }
}
