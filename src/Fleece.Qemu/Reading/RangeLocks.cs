// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Qemu.Reading;

/// <summary>Lets one request at a time have a range: each waits for those that came before it and overlap it.</summary>
/// <remarks>
/// <para>A request holds one range and asks for no other meanwhile, and those that wait are served in the order in which they came. So none
/// waits for ever, and no two wait for each other.</para>
/// <para>Waiting can't be cancelled: it ends when the requests before it do.</para>
/// <para>Threading. Safe from any thread. A search is as long as the list of requests, which readers keep short.</para>
/// </remarks>
internal sealed class RangeLocks
{
    private readonly Lock _gate = new();
    private Holder? _first;
    private Holder? _last;
    private Holder? _free;

    /// <summary>Waits for the range.</summary>
    /// <returns>What <see cref="Exit"/> takes, exactly once, when the request has ended.</returns>
    public ValueTask<Holder> EnterAsync(GranuleRun run)
    {
        lock (_gate)
        {
            Holder holder = _free ?? new Holder();
            _free = _free?.Next;
            holder.Run = run;
            holder.Next = null;
            holder.Previous = _last;
            for (Holder? earlier = _first; earlier is not null; earlier = earlier.Next)
            {
                holder.WaitsFor += earlier.Run.Overlaps(run) ? 1 : 0;
            }

            _first ??= holder;
            if (_last is not null)
            {
                _last.Next = holder;
            }

            _last = holder;
            if (holder.WaitsFor == 0)
            {
                return new ValueTask<Holder>(holder);
            }

            holder.Turn = new TaskCompletionSource<Holder>(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask<Holder>(holder.Turn.Task);
        }
    }

    /// <summary>Gives the range up.</summary>
    public void Exit(Holder holder)
    {
        lock (_gate)
        {
            for (Holder? later = holder.Next; later is not null; later = later.Next)
            {
                if (later.Run.Overlaps(holder.Run) && --later.WaitsFor == 0)
                {
                    later.Turn!.SetResult(later);
                    later.Turn = null;
                }
            }

            Remove(holder);
            holder.Next = _free;
            _free = holder;
        }
    }

    private void Remove(Holder holder)
    {
        if (holder.Previous is null)
        {
            _first = holder.Next;
        }
        else
        {
            holder.Previous.Next = holder.Next;
        }

        if (holder.Next is null)
        {
            _last = holder.Previous;
        }
        else
        {
            holder.Next.Previous = holder.Previous;
        }

        holder.Previous = null;
    }

    /// <summary>A request that holds its range or waits for it. Its members are the locks' own.</summary>
    internal sealed class Holder
    {
        public GranuleRun Run;
        public int WaitsFor;
        public TaskCompletionSource<Holder>? Turn;
        public Holder? Previous;
        public Holder? Next;
    }
}
