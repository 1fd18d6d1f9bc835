// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;

namespace Fleece.Backups.Reading;

/// <summary>Divides what can be read of a snapshot into chunks, those first that the guest is about to overwrite.</summary>
/// <remarks>
/// <para>The disk is a row of slots of the chunk size, and a map has those that have been planned. At each border of slots the plan
/// asks where the guest's writes come near: the first slot there that is not planned is next, and where there is none, the disk's first
/// one. From there a <see cref="ChunkPlan"/> goes on up to the next slot that is planned, or until the guest is nearer elsewhere. So each
/// slot is planned once, from its start to its end, whatever the hints say.</para>
/// <para>Threading. One caller at a time.</para>
/// </remarks>
internal sealed class AtRiskPlan : IChunkPlan
{
    // How far the reader goes on behind a place at risk whose slots are on their way to the consumer already.
    private const int ReachSlots = 64;

    private readonly IAtRiskSource _risk;
    private readonly ChunkPlan _plan;
    private readonly BlockRange _range;
    private readonly int _slotBytes;
    private readonly GranuleMap _planned;
    private readonly GranuleRun _all;

    // The slots that the inner plan goes through, without those that it has behind it.
    private GranuleRun _window;
    private bool _isInSlot;

    public AtRiskPlan(ISnapshotSource source, IAtRiskSource risk, SnapshotReadOptions options)
    {
        _risk = risk;
        _plan = new ChunkPlan(source, options);
        _range = _plan.Range;
        _slotBytes = options.ChunkSizeBytes;
        _all = new GranuleRun(_range.OffsetBytes / _slotBytes, (_range.EndBytes + _slotBytes - 1) / _slotBytes);
        _planned = new GranuleMap(Math.Max(1, _all.End));
        _window = new GranuleRun(_all.Start, _all.Start);
    }

    /// <inheritdoc/>
    public async ValueTask<(BlockRange Range, bool IsZero)> NextAsync(CancellationToken cancellationToken)
    {
        while (_isInSlot || await ChooseAsync(cancellationToken).ConfigureAwait(false))
        {
            (BlockRange range, bool isZero) = await _plan.NextAsync(cancellationToken).ConfigureAwait(false);
            if (range.IsEmpty)
            {
                Advance(_window.End);
                continue;
            }

            Advance(range.EndBytes == _range.EndBytes ? _window.End : range.EndBytes / _slotBytes);
            _isInSlot = !_window.IsEmpty && range.EndBytes % _slotBytes != 0;
            return (range, isZero);
        }

        return (new BlockRange(_range.EndBytes, 0), false);
    }

    private void Advance(long slot)
    {
        if (slot > _window.Start)
        {
            _planned.Add(_window with { End = slot });
            _window = _window with { Start = slot };
        }

        _isInSlot = false;
    }

    // False when every slot has been planned.
    private async ValueTask<bool> ChooseAsync(CancellationToken cancellationToken)
    {
        long slot = _planned.FirstNotIn(_all);
        if (slot >= _all.End)
        {
            return false;
        }

        foreach (long offsetBytes in await _risk.FindAtRiskAsync(cancellationToken).ConfigureAwait(false))
        {
            long near = offsetBytes / _slotBytes;
            GranuleRun reach = new(Math.Max(near, _all.Start), Math.Min(near + ReachSlots, _all.End));
            if (!reach.IsEmpty && _planned.FirstNotIn(reach) is var found && found < reach.End)
            {
                slot = found;
                break;
            }
        }

        if (_window.IsEmpty || slot != _window.Start)
        {
            _window = new GranuleRun(slot, _planned.FirstIn(_all with { Start = slot }));
            _plan.Restrict(BlockRange.FromEnds(_window.Start * _slotBytes, Math.Min(_window.End * _slotBytes, _range.EndBytes)));
        }

        return true;
    }
}
