// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Keeps its caller's thread for a moment on every read and write, as a disk does, and counts how many it has at once.</summary>
internal sealed class SlowNode(IBlockNode inner) : BlockingNode(inner)
{
    private readonly Lock _lock = new();
    private int _atOnce;

    public int MostAtOnce { get; private set; }

    protected override void Block(BlockOperationKind kind, BlockRange range)
    {
        if (kind is not (BlockOperationKind.Read or BlockOperationKind.Write))
        {
            return;
        }

        lock (_lock)
        {
            MostAtOnce = Math.Max(MostAtOnce, ++_atOnce);
        }

        Thread.Sleep(2);
        lock (_lock)
        {
            _atOnce--;
        }
    }
}
