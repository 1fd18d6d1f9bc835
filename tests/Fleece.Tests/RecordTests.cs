// SPDX-License-Identifier: MIT
using System.Collections;
using System.Management.Automation;
using System.Reflection;
using Fleece.Backups.Reading;
using Fleece.Disks;

namespace Fleece.Tests;

/// <summary>Types of the objects that cmdlets hand out: plain data all the way down, and nothing else.</summary>
public sealed class RecordTests
{
    private static readonly HashSet<Type> Values =
        [typeof(string), typeof(decimal), typeof(Guid), typeof(DateTime), typeof(DateTimeOffset), typeof(TimeSpan), typeof(void)];

    // Chunks are live: a consumer ends them. Read-FleeceDisk hands out bytes.
    private static readonly Type[] Handed =
    [
        .. typeof(FleeceCommand).Assembly.GetTypes()
            .SelectMany(type => type.GetCustomAttributes<OutputTypeAttribute>())
            .SelectMany(attribute => attribute.Type)
            .Select(output => output.Type)
            .Where(type => type != typeof(SnapshotChunk) && type != typeof(byte[]))
            .Distinct(),
    ];

    public static TheoryData<Type> Types => [.. Handed];

    [Theory]
    [MemberData(nameof(Types))]
    public void No_member_of_a_record_reaches_an_engine_object(Type record) => Assert.Empty(Reached(record));

    [Theory]
    [InlineData(typeof(Disk))]
    [InlineData(typeof(Session))]
    [InlineData(typeof(Fleece.Disks.Bitmaps.Bitmap))]
    [InlineData(typeof(Fleece.Disks.Exports.DiskExport))]
    [InlineData(typeof(SnapshotChunk))]
    public void The_walk_finds_an_engine_object_where_there_is_one(Type live) => Assert.NotEmpty(Reached(live));

    [Fact]
    public void Every_kind_of_record_is_handed_out() =>
        Assert.Superset(
            new HashSet<string>(["DiskInfo", "SessionInfo", "BitmapInfo", "ExportInfo", "BackupInfo", "BackupPointInfo"]),
            Handed.Select(type => type.Name).ToHashSet());

    [Theory]
    [MemberData(nameof(Types))]
    public void A_record_of_a_disk_or_a_backup_can_not_be_changed(Type record)
    {
        string[] rooms = ["Fleece.Disks.Records", "Fleece.Backups.Records"];
        Assert.SkipUnless(rooms.Contains(record.Namespace), "a report of a file, which nothing live stands behind");

        Assert.All(record.GetProperties(), property => Assert.Null(property.GetSetMethod()));
    }

    // The paths of members that lead to something else than plain data.
    private static List<string> Reached(Type type)
    {
        List<string> found = [];
        Walk(type, type.Name, [], found);
        return found;
    }

    private static void Walk(Type type, string path, HashSet<Type> seen, List<string> found)
    {
        Type plain = Nullable.GetUnderlyingType(type) ?? type;
        if (plain.IsPrimitive || plain.IsEnum || Values.Contains(plain) || !seen.Add(plain))
        {
            return;
        }

        if (typeof(IEnumerable).IsAssignableFrom(plain))
        {
            Walk(plain.IsGenericType ? plain.GetGenericArguments()[0] : typeof(object), path + "[]", seen, found);
            return;
        }

        bool isRecord = plain.GetMethod("<Clone>$") is not null || plain.IsValueType;
        if (!isRecord || plain.Assembly.GetName().Name?.StartsWith("Fleece.", StringComparison.Ordinal) != true)
        {
            found.Add($"{path}: {plain}");
            return;
        }

        const BindingFlags Visible = BindingFlags.Public | BindingFlags.Instance;
        found.AddRange(plain.GetEvents(Visible).Select(raised => $"{path}.{raised.Name}: an event"));
        foreach (FieldInfo field in plain.GetFields(Visible))
        {
            Walk(field.FieldType, $"{path}.{field.Name}", seen, found);
        }

        // Getters of properties are among them. A method with an out parameter hands that out as well.
        foreach (MethodInfo method in plain.GetMethods(Visible).Where(method => method.DeclaringType != typeof(object) && method.Name != "GetType"))
        {
            Walk(method.ReturnType, $"{path}.{method.Name}", seen, found);
            foreach (ParameterInfo parameter in method.GetParameters().Where(parameter => parameter.IsOut))
            {
                Walk(parameter.ParameterType.GetElementType()!, $"{path}.{method.Name}.{parameter.Name}", seen, found);
            }
        }
    }
}
