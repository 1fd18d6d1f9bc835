// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;
using Xunit;

namespace Fleece.Images.Tests.Maps;

/// <summary>The two gates that a freed place passes before it is used again.</summary>
public sealed class FreedPlacesTests
{
    private const long MostPlaces = 4;

    private readonly Epochs _epochs = new();
    private readonly Lock _sync = new();
    private readonly Poison _poison = new(cause => cause);
    private readonly List<string> _done = [];
    private readonly FreedPlaces _freed;
    private bool _isZeroingFailing;

    public FreedPlacesTests() => _freed = new FreedPlaces(_epochs, _sync, _poison, MostPlaces, Zero, Release);

    [Fact]
    public void A_place_is_not_zeroed_while_a_request_may_use_it()
    {
        int ticket = _epochs.Enter();
        Add(7);
        WriteBack();
        _freed.Reclaim();
        Assert.Empty(_done);

        _epochs.Exit(ticket);
        _freed.Reclaim();
        Assert.Equal(["zero 7+1", "release 7+1"], _done);
    }

    [Fact]
    public void A_place_is_zeroed_but_not_free_before_the_disk_has_forgotten_it()
    {
        Add(7);
        _freed.Reclaim();
        Assert.Equal(["zero 7+1"], _done);

        WriteBack();
        _freed.Reclaim();
        Assert.Equal(["zero 7+1", "release 7+1"], _done);
    }

    [Fact]
    public void A_write_back_that_began_before_a_place_was_freed_does_not_let_it_go()
    {
        BeginWriteBack();
        Add(7);
        EndWriteBack();
        _freed.Reclaim();
        Assert.Equal(["zero 7+1"], _done);
    }

    [Fact]
    public void A_place_that_others_use_keeps_its_content()
    {
        Add(7, isShared: true);
        WriteBack();
        _freed.Reclaim();
        Assert.Equal(["release 7+1"], _done);
    }

    [Fact]
    public void Neighbours_that_are_alike_are_one_run()
    {
        Add(7);
        Add(8);
        Add(9, isShared: true);
        WriteBack();
        Add(10, isShared: true);
        WriteBack();
        _freed.Reclaim();
        Assert.Equal(["zero 7+2", "release 7+2", "release 9+1", "release 10+1"], _done);
    }

    [Fact]
    public void Much_that_waits_for_a_write_back_needs_one_and_what_waits_for_a_request_alone_does_not()
    {
        for (long place = 0; place < 2 * MostPlaces; place += 2)
        {
            Assert.False(_freed.NeedsWriteBack);
            Add(place);
        }

        int ticket = _epochs.Enter();
        _freed.Reclaim();
        Assert.True(_freed.NeedsWriteBack);

        WriteBack();
        _freed.Reclaim();
        Assert.Empty(_done);
        Assert.False(_freed.NeedsWriteBack);
        _epochs.Exit(ticket);
    }

    [Fact]
    public void A_place_that_cannot_be_zeroed_is_never_free_and_fails_no_request()
    {
        for (long place = 0; place < MostPlaces; place++)
        {
            Add(place);
        }

        _isZeroingFailing = true;
        _freed.Reclaim();
        _isZeroingFailing = false;
        WriteBack();
        _freed.Reclaim();
        Assert.Empty(_done);
        Assert.False(_freed.NeedsWriteBack);
    }

    [Fact]
    public void Nothing_is_zeroed_or_free_once_the_image_takes_no_more_changes()
    {
        Add(7);
        WriteBack();
        _poison.Set(new BlockException(BlockErrors.IoFailed, "The disk is gone."));
        _freed.Reclaim();
        Assert.Empty(_done);
    }

    private void Add(long place, bool isShared = false)
    {
        lock (_sync)
        {
            _freed.Add(place, 1, isShared);
        }
    }

    private void WriteBack()
    {
        BeginWriteBack();
        EndWriteBack();
    }

    private void BeginWriteBack()
    {
        lock (_sync)
        {
            _freed.BeginWriteBack();
        }
    }

    private void EndWriteBack()
    {
        lock (_sync)
        {
            _freed.EndWriteBack();
        }
    }

    private void Zero(FreedRun run)
    {
        Assert.False(_sync.IsHeldByCurrentThread);
        if (_isZeroingFailing)
        {
            throw new BlockException(BlockErrors.IoFailed, "The disk can't.");
        }

        _done.Add($"zero {run.First}+{run.Count}");
    }

    private void Release(FreedRun run)
    {
        Assert.True(_sync.IsHeldByCurrentThread);
        _done.Add($"release {run.First}+{run.Count}");
    }
}
