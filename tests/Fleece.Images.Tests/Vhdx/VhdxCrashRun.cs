// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>
/// Crashes an image and judges it: the bytes each place may have are those it had at the last guest flush or got since.
/// </summary>
internal sealed class VhdxCrashRun
{
    private readonly MemoryContainer _container;
    private readonly Seeds _seeds;
    private readonly Func<IContainerFile, ImageNode> _open;
    private readonly byte[] _now;

    // Every state of the disk since the last flush, oldest first: each byte must be as in one of them.
    private readonly List<byte[]> _possible;
    private readonly bool[] _mayBeZero;
    private readonly bool[] _mayBeZeroSince;

    public VhdxCrashRun(ImageNode node, MemoryContainer container, Seeds seeds, Func<IContainerFile, ImageNode> open)
    {
        _container = container;
        _seeds = seeds;
        _open = open;
        _now = new byte[node.Geometry.LengthBytes];
        node.Read(0, _now);
        _possible = [(byte[])_now.Clone()];
        _mayBeZero = new bool[_now.Length];
        _mayBeZeroSince = new bool[_now.Length];
    }

    public void Writing(long offsetBytes, byte[] data)
    {
        data.CopyTo(_now, offsetBytes);
        _mayBeZero.AsSpan((int)offsetBytes, data.Length).Clear();
        _possible.Add((byte[])_now.Clone());
    }

    // What is discarded keeps its bytes or is zero.
    public void Discarding(BlockRange range)
    {
        _mayBeZero.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes).Fill(true);
        _mayBeZeroSince.AsSpan((int)range.OffsetBytes, (int)range.LengthBytes).Fill(true);
    }

    public void Flushed()
    {
        _possible.Clear();
        _possible.Add((byte[])_now.Clone());
        _mayBeZero.CopyTo(_mayBeZeroSince, 0);
    }

    public void OnFlush()
    {
        if (_seeds.Chance(30))
        {
            Check("inside a commit");
        }
    }

    public void Check(string context)
    {
        context = $"{context}, seed {_seeds.Seed}";
        int percent = _seeds.Pick(0, 30, 70, 100);
        byte[] image = _container.Crash(() => _seeds.Chance(percent));
        VhdxImages.LeaksAtMost(image, context);
        byte[] content = new byte[_now.Length];
        _open(new MemoryContainer(image, isReadOnly: true)).Read(0, content);
        for (int i = 0; i < content.Length; i++)
        {
            if (content[i] != _possible[^1][i] && !IsPossible(i, content[i]))
            {
                Assert.Fail($"byte {i} is {content[i]:x2}, unlike at the last flush and since; {context}");
            }
        }
    }

    private bool IsPossible(int index, byte value) =>
        (value == 0 && _mayBeZeroSince[index]) || _possible.Exists(state => state[index] == value);
}
