// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Random writes, bitmap operations, sessions, dismounts and kills against sets of units.</summary>
/// <remarks>A kill here is one between two writes, so afterwards too a bitmap holds exactly what the model has.</remarks>
public sealed class BitmapModelTests
{
    private const long G = 4096;
    private const int Units = 1000;
    private const int Steps = 400;

    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task Bitmaps_agree_with_the_model_through_everything(ImageFormat format)
    {
        await using Rig rig = new();
        string path = rig.Folder.File($"vm.{format}");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = Units * G }, default);
        Model model = new(rig, await rig.OpenAsync(path));
        for (int step = 0; step < Steps; step++)
        {
            await model.StepAsync();
            model.Check();
        }
    }

    private sealed class Model(Rig rig, Disk disk)
    {
        private static readonly string[] Names = ["a", "b", "c"];

        private readonly Dictionary<string, (bool IsEnabled, HashSet<long> Units)> _bitmaps = [];
        private Disk _disk = disk;
        private Session? _session;
        private string? _pinned;
        private HashSet<long> _next = [];

        // Bitmaps that count from a session that ended with success; the others limit nothing.
        private readonly HashSet<string> _based = [];

        private Seeds Seeds => rig.Seeds;

        public async Task StepAsync()
        {
            string name = Seeds.Pick<string>(Names);
            bool isKnown = _bitmaps.ContainsKey(name);
            bool isFree = isKnown && name != _pinned;
            switch (Seeds.Next(14))
            {
                case 0 when !isKnown && Seeds.Chance(80):
                    await _disk.Bitmaps.CreateAsync(name, G);
                    _bitmaps[name] = (true, []);
                    break;
                case 1 when isFree && Seeds.Chance(30):
                    await _disk.Bitmaps.RemoveAsync(name);
                    _bitmaps.Remove(name);
                    _based.Remove(name);
                    break;
                case 2 when isFree:
                    await _disk.Bitmaps.ClearAsync(name);
                    _bitmaps[name] = (_bitmaps[name].IsEnabled, []);
                    _based.Remove(name);
                    break;
                case 3 when isFree:
                    bool isEnabled = Seeds.Chance(60);
                    await (isEnabled ? _disk.Bitmaps.EnableAsync(name) : _disk.Bitmaps.DisableAsync(name));
                    _bitmaps[name] = (isEnabled, _bitmaps[name].Units);
                    if (!isEnabled)
                    {
                        _based.Remove(name);
                    }

                    break;
                case 4 when isFree:
                    string[] sources = [.. _bitmaps.Keys.Where(other => other != _pinned && Seeds.Chance(50))];
                    await _disk.Bitmaps.MergeAsync(name, sources);
                    _bitmaps[name].Units.UnionWith([.. sources.SelectMany(source => _bitmaps[source].Units)]);
                    break;
                case 5 when isFree && _session is null && _bitmaps[name].IsEnabled:
                    await StartAsync(name);
                    break;
                case 6 when _session is not null:
                    bool isSuccess = Seeds.Chance(50);
                    await _session.StopAsync(isSuccess);
                    EndSession(isSuccess);
                    break;
                case 7 when Seeds.Chance(40):
                    EndSession(isSuccess: false);
                    _disk = await rig.RemountAsync(_disk);
                    break;
                case 8 when Seeds.Chance(40):
                    EndSession(isSuccess: false);
                    await rig.KillAsync(_disk);
                    _disk = await rig.OpenAsync(_disk.Path);
                    break;
                default:
                    await ChangeAsync();
                    break;
            }
        }

        public void Check()
        {
            foreach ((string name, (bool isEnabled, HashSet<long> units)) in _bitmaps)
            {
                Bitmap bitmap = _disk.Bitmaps.Find(name);
                BitmapState expected = name == _pinned ? BitmapState.Frozen : isEnabled ? BitmapState.Recording : BitmapState.Disabled;
                Assert.Equal((expected, null), (bitmap.State, bitmap.Reason));
                Assert.Equal(units.Order(), UnitsOf(bitmap));
            }

            Assert.Equal(_bitmaps.Count + (_session?.NextBitmap is null ? 0 : 1), _disk.Bitmaps.All.Count);
            if (_session?.NextBitmap is { } next)
            {
                Assert.Equal(_next.Order(), UnitsOf(next));
            }
        }

        private async Task StartAsync(string name)
        {
            _session = await Rig.StartAsync(
                _disk, new SessionOptions { Bitmap = name, NextBitmap = Seeds.Chance(50) ? "next" : null, GranuleSizeBytes = (int)G });
            _pinned = name;
            _next = [];
            long unitCount = (_disk.SizeBytes + G - 1) / G;
            IEnumerable<long> shown = _based.Contains(name) ? _bitmaps[name].Units.Order() : Enumerable.Range(0, (int)unitCount).Select(unit => (long)unit);
            Assert.Equal(
                shown,
                _session.GetRuns().Where(run => run.State != Block.CopyBeforeWrite.SnapshotRunState.Denied)
                    .SelectMany(run => UnitsOf(new BlockRange(run.OffsetBytes, run.LengthBytes))));
        }

        private void EndSession(bool isSuccess)
        {
            if (_session is not null)
            {
                HashSet<long> units = isSuccess ? _next : [.. _bitmaps[_pinned!].Units, .. _next];
                _bitmaps[_pinned!] = (_bitmaps[_pinned!].IsEnabled, units);
                _ = isSuccess && _based.Add(_pinned!);
                (_session, _pinned, _next) = (null, null, []);
            }
        }

        private async Task ChangeAsync()
        {
            BlockRange range = Seeds.Range(Units * G);
            switch (Seeds.Next(4))
            {
                case 0:
                    await _disk.Device.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes);
                    break;
                case 1:
                    await _disk.Device.DiscardAsync(range.OffsetBytes, range.LengthBytes);
                    break;
                default:
                    range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, 10 * G));
                    await _disk.Device.WriteAsync(range.OffsetBytes, Seeds.Bytes(range.LengthBytes));
                    break;
            }

            foreach ((string name, (bool isEnabled, HashSet<long> units)) in _bitmaps)
            {
                if (isEnabled && name != _pinned)
                {
                    units.UnionWith(UnitsOf(range));
                }
            }

            if (_session is not null)
            {
                _next.UnionWith(UnitsOf(range));
            }
        }

        private static IEnumerable<long> UnitsOf(Bitmap bitmap) => bitmap.GetDirtyRanges().SelectMany(UnitsOf);

        private static IEnumerable<long> UnitsOf(BlockRange range)
        {
            for (long unit = range.OffsetBytes / G; !range.IsEmpty && unit * G < range.EndBytes; unit++)
            {
                yield return unit;
            }
        }
    }
}
